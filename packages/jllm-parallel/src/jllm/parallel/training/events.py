"""What a run does, in order, as a pure function of its numbers.

Every process walks the same list, so whether anything collective happens follows from the plan
alone.
"""

import dataclasses
from collections.abc import Iterator
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Event:
    """One thing to do after `step` optimizer steps (for "train": the step that makes it `step` +
    1)."""

    kind: Literal["train", "evaluate", "save"]
    step: int


def events(
    *, first: int, total: int, evaluate_every: int, save_every: int, evaluate: bool, save: bool
) -> Iterator[Event]:
    """List training steps, evaluations and checkpoints.

    Args:
        first: steps already done.
        total: steps of the whole run.
        evaluate_every: steps between evaluations, -1 for none between.
        save_every: steps between checkpoints, -1 for none between.
        evaluate: whether there is anything to evaluate on: then also before step 1 and after the
            last.
        save: whether to save: then also after the last step.
    """
    if evaluate and first == 0:
        yield Event("evaluate", first)
    for step in range(first, total):
        yield Event("train", step)
        done = step + 1
        if evaluate and (done == total or (evaluate_every > 0 and done % evaluate_every == 0)):
            yield Event("evaluate", done)
        if save and (done == total or (save_every > 0 and done % save_every == 0)):
            yield Event("save", done)
