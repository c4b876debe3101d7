"""`jllm.data.torch_dataset`: batches for a `torch.utils.data.DataLoader`.

The only module that imports torch. Worker w of n reads the steps first + w, first + w + n, …. A
DataLoader takes from its workers in turn, so batches come in the order of the steps for every
number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from jllm.data.batch_reader import BatchReader, Data, open_data, step_of
from jllm.data.reading.reader import Batch


class StepDataset(IterableDataset):
    """One item per step: {"step", "tokens", "targets", "bounds"}. Give the loader batch_size=None.

    `tokens` and `targets` are int64 [rows, max_len − 1], `targets` −100 where nothing is
    predicted; `bounds` is a list with the document bounds of each row, int32.
    """

    def __init__(self, data: Data, **options: Any) -> None:
        """Check the options, which are those of `BatchReader`; read nothing yet."""
        self._options: dict[str, Any] = {"dataset": open_data(data), **options}
        with BatchReader(**self._options) as reader:
            self._steps = reader.steps
            self._settings = reader.state_dict()
        self._next: int = self._settings.pop("step")
        self._loaded = False
        self._read_by_workers = torch.zeros(1, dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        """Return the number of steps in a loop from `start`."""
        return len(self._steps)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Read the steps of this process in order."""
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        self._read_by_workers.fill_(worker is not None)
        first = self._next if self._loaded else self._steps.start
        self._next, self._loaded = first, False
        with BatchReader(**self._options) as reader:
            for step in range(first + number, self._steps.stop, workers):
                item = _item(reader.read(step))
                self._next = step + 1
                yield item

    def state_dict(self, after: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the position after the item `after`, or after the last item read in this process.

        Where workers read ahead, only the item tells the position: raises ValueError without it.
        """
        if after is not None:
            return {"step": int(after["step"]) + 1, **self._settings}
        if get_worker_info() is not None or bool(self._read_by_workers):
            raise ValueError(
                "after: worker processes read ahead, so the data set does not know what was used; "
                "give the last item: state_dict(after=item)"
            )
        return {"step": self._next, **self._settings}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next loop continue from a state, with any number of workers and ranks.

        Raises ValueError where the state is from another batch size, seed or order.
        """
        self._next, self._loaded = step_of(state, self._settings), True


def _item(batch: Batch) -> dict[str, Any]:
    return {
        "step": batch.step,
        "tokens": torch.from_numpy(batch.tokens.astype(np.int64)),
        "targets": torch.from_numpy(batch.targets.astype(np.int64)),
        "bounds": [torch.from_numpy(np.ascontiguousarray(bounds)) for bounds in batch.bounds],
    }
