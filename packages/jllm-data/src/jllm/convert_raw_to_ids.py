"""`jllm.raw2ids` by its older name: `python -m jllm.convert_raw_to_ids -i text.txt -o ids`."""

import sys

from jllm.raw2ids import main

if __name__ == "__main__":
    sys.exit(main())
