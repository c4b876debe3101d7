"""Makes the modules of tools/quickstart importable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tools/quickstart"))
