"""RL prompts in the deterministic order: `read(step)` returns the prompts of any step.

Step s of seed r has the same prompts for every number of readers (`order.locate`). A reader holds
the row groups that its lanes are in, at most one per lane. Before the first step, the numbers of
all prompts are read to check that no two are the same: about 0.2 ms a row group.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from jllm.data.reading import order
from jllm.data.reading.dataset import Dataset
from jllm.data.reading.prompt_ids import repeated_prompts
from jllm.data.reading.row_decoder import TrainingRows
from jllm.data.reading.row_groups import RowGroupFiles


@dataclass(frozen=True, kw_only=True)
class PromptRow:
    """One prompt."""

    number: int
    """The number by which a reward function identifies the prompt."""
    ids: np.ndarray
    """int32 [1 … max_len]: the prompt, with its generation prompt."""


class PromptReader:
    """Reader of lanes (of 0…prompts_per_step − 1) of a set of RL prompts. A context manager."""

    def __init__(
        self,
        dataset: Dataset,
        *,
        seed: int,
        prompts_per_step: int,
        lanes: range | None = None,
        shuffle: bool = True,
    ) -> None:
        """Check the prompts; `lanes`: None for all.

        Raises ValueError where the rows are no prompts, are too few for one step, or two have the
        same number.
        """
        if dataset.kind != "rl":
            raise ValueError(
                f"{dataset.path}: is of kind {dataset.kind}, expected RL prompts: convert them "
                "with python -m jllm.raw2ids --type rl"
            )
        if repeated := repeated_prompts(dataset):
            raise ValueError(repeated)
        self.steps_per_epoch = order.split_step(dataset.num_rows, prompts_per_step, 0)[2]
        self._dataset, self._files = dataset, RowGroupFiles(dataset)
        self._seed, self._size, self._shuffle = seed, prompts_per_step, shuffle
        self._lanes = range(prompts_per_step) if lanes is None else lanes
        self._held: dict[int, TrainingRows] = {}

    def read(self, step: int) -> list[PromptRow]:
        """Return the prompts of this reader's lanes at the global `step` (from 0), in lane order.

        Raises ValueError with file and row group where a file is damaged.
        """
        rows, seed, size = self._dataset.group_rows, self._seed, self._size
        groups, places = order.locate(rows, seed, size, step, self._lanes, self._shuffle)
        wanted = dict.fromkeys(groups.tolist())
        self._held = {group: held for group, held in self._held.items() if group in wanted}
        for group in wanted:
            if group not in self._held:
                self._held[group] = self._files.read(group)
        return [
            _prompt(self._held[group], place)
            for group, place in zip(groups.tolist(), places.tolist(), strict=True)
        ]

    def __enter__(self) -> Self:
        """Return the reader itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all files."""
        self._files.close()


def _prompt(rows: TrainingRows, place: int) -> PromptRow:
    assert rows.labels is not None
    return PromptRow(number=int(rows.labels.row(place)[0]), ids=rows.ids.row(place))
