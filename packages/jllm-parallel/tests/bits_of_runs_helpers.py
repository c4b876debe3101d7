"""One tiny training in several layouts, in the environment of this process.

As a program, with a folder that holds a model and its data: its exit status says whether all
layouts gave the same bytes.
"""

import sys
from pathlib import Path

from expert_helpers import balanced_run
from jllm.parallel.config.config import TrainConfig
from training_helpers import alone, changed, checkpoint_bytes, metrics, train

STEPS = 4


def results(config: TrainConfig) -> tuple[list[tuple[float, float]], dict[str, bytes]]:
    """Give losses and norms of a run to the last bit, and what it saved."""
    folder = Path(config.checkpoint)
    lines = [(line["loss"], line["gradient_norm"]) for line in metrics(folder) if "loss" in line]
    return lines, checkpoint_bytes(folder, STEPS)


def main(folder: Path) -> None:
    """Train alone, on two stages with recomputation, and from the checkpoint in between.

    The model has experts that are chosen by sigmoids and balanced.
    """
    one = changed(balanced_run(folder, "bias"), "one", max_steps=STEPS, steps_per_checkpoint=2)
    alone(one)
    expected = results(one)
    assert len(expected[0]) == STEPS
    train(2, cut := changed(one, "cut", pipe_parallel_size=2, checkpoint_grad_interval=2))
    assert results(cut) == expected
    alone(resumed := changed(one, "resumed", resume_ckpt=str(Path(one.checkpoint) / "2")))
    lines, saved = results(resumed)
    assert (lines, saved) == (expected[0][2:], expected[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
