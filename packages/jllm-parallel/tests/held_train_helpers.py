"""`python -m held_train_helpers FLAGS`: jllm.train_pipe that stands still after a step.

The process that writes the metrics waits after step 3 for the file named by HELD_UNTIL, and with it
all others at their next exchange: whoever signals or kills them has all the time that it needs.
"""

import os
import time
from pathlib import Path

from jllm.train_pipe import main
from training_helpers import after_step

STEP = 3


def hold() -> None:
    """Wait for the file; signals are handled meanwhile."""
    while not Path(os.environ["HELD_UNTIL"]).exists():
        time.sleep(0.01)


if __name__ == "__main__":
    after_step(STEP, hold)
    main()
