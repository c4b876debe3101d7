"""The old name of `jllm.shuffle_datasets`: `python -m jllm.shuffle_partition -d D --output O`."""

import sys

from jllm.shuffle_datasets import main

if __name__ == "__main__":
    sys.exit(main())
