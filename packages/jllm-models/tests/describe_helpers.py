"""Runs `python -m jllm.models.describe` and counts its work: the same on a busy machine."""

import subprocess
import sys
from pathlib import Path

COUNTED = """
import sys
from jllm.models.describe import main

def count(_frame, event, _argument):
    global calls
    calls += event in ("call", "c_call")

calls = 0
sys.setprofile(count)
code = main(sys.argv[1:])
sys.setprofile(None)
heavy = {"torch", "transformers", "numpy"} & sys.modules.keys()
print(code, calls, len(sys.modules), *heavy, file=sys.stderr)
"""


def described(directory: Path, most_calls: int) -> str:
    """What the command prints, which imports little and calls fewer functions than that."""
    command = [sys.executable, "-c", COUNTED, str(directory)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    code, calls, modules, *heavy = found.stderr.split()
    assert (code, heavy) == ("0", [])
    assert int(calls) < most_calls
    assert int(modules) < 350  # 204 with CPython 3.11 and rich
    return found.stdout
