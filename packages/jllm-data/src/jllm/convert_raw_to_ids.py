"""The old name of `jllm.raw2ids`: `python -m jllm.convert_raw_to_ids -i text.txt -o ids`."""

import sys

from jllm.raw2ids import main

if __name__ == "__main__":
    sys.exit(main())
