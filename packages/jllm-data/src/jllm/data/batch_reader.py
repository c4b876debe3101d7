"""`jllm.data.BatchReader`: the batches of a training run in order, for use from Python."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from jllm.data.reading.dataset import Dataset, open_dataset
from jllm.data.reading.mixture import DataMixture, open_mixture
from jllm.data.reading.reader import Batch, LaneReader

Data = Dataset | DataMixture | str | os.PathLike[str]


class BatchReader:
    """Reader of this rank's rows of global batches, which do not depend on the number of ranks.

    Each loop over it begins at step `start` and gives `steps` batches; the first loop after
    `load_state_dict` begins at the loaded position. A batch can be unpacked: `tokens, targets,
    bounds = batch`. `read(step)` returns the batch of any step directly. A context manager.
    """

    def __init__(
        self,
        dataset: Data,
        global_batch_size: int = 32,
        seed: int = 1,
        rank: int = 0,
        world_size: int = 1,
        *,
        start: int = 0,
        shuffle: bool = True,
        steps: int | None = None,
    ) -> None:
        """Read nothing yet.

        `dataset`: a result of `open_dataset` or `open_mixture`, or an argument for them. Rank r of
        `world_size` reads the r-th of equal parts of every global batch. `steps`: None for the rest
        of the epoch that contains `start`.

        Raises ValueError that names the wrong argument, or the data set that does not fill one
        step.
        """
        size = _whole("global_batch_size", global_batch_size, 1)
        ranks, first = _whole("world_size", world_size, 1), _whole("start", start, 0)
        mine = _whole("rank", rank, 0)
        if mine >= ranks:
            raise ValueError(f"rank is {mine}, expected 0 to {ranks - 1} (world_size {ranks})")
        if size % ranks:
            raise ValueError(
                f"global_batch_size is {size}, which {ranks} ranks (world_size) cannot share "
                f"equally; take {-(-size // ranks) * ranks}"
            )
        each = size // ranks
        self._reader = LaneReader(
            open_data(dataset),
            seed=_whole("seed", seed, None),
            global_batch_size=size,
            lanes=range(mine * each, (mine + 1) * each),
            shuffle=bool(shuffle),
        )
        rest = self.steps_per_epoch - first % self.steps_per_epoch
        count = rest if steps is None else _whole("steps", steps, 0)
        self._settings = {"global_batch_size": size, "seed": int(seed), "shuffle": bool(shuffle)}
        self._steps = range(first, first + count)
        self._next, self._loaded = first, False

    @property
    def steps_per_epoch(self) -> int:
        """The number of steps that read every row once (except rows that fill no batch)."""
        return self._reader.steps_per_epoch

    @property
    def steps(self) -> range:
        """The steps of a loop over the reader."""
        return self._steps

    def __len__(self) -> int:
        """Return the number of batches in a loop from `start`."""
        return len(self._steps)

    def read(self, step: int) -> Batch:
        """Return this rank's rows of `step`, counted from 0, in the order of the global batch.

        `tokens` and `targets` are int32 [rows, max_len − 1]; `bounds` are each row's document
        bounds. Raises ValueError that names a damaged file.
        """
        return self._reader.read(_whole("step", step, 0))

    def __iter__(self) -> Iterator[Batch]:
        """Read the steps in order."""
        first = self._next if self._loaded else self._steps.start
        self._next, self._loaded = first, False
        for step in range(first, self._steps.stop):
            batch = self.read(step)
            self._next = step + 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return the reader's position: the next step, and the settings on which it depends."""
        return {"step": self._next, **self._settings}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next loop continue from a state, on any number of ranks.

        Raises ValueError where the state is from a reader with another batch size, seed or order.
        """
        self._next, self._loaded = step_of(state, self._settings), True

    def close(self) -> None:
        """Stop the threads that read ahead."""
        self._reader.close()

    def __enter__(self) -> Self:
        """Return the reader itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()


def open_data(dataset: Data) -> Dataset | DataMixture:
    """Open a path, a URL or a mixture; return open data unchanged."""
    if isinstance(dataset, (Dataset, DataMixture)):
        return dataset
    if isinstance(dataset, str):
        return open_mixture(dataset)
    if isinstance(dataset, os.PathLike):
        return open_dataset(os.fspath(dataset), lazy=True)
    raise ValueError(
        f"dataset is {dataset!r}, expected a folder or what open_dataset or open_mixture gave"
    )


def step_of(state: Mapping[str, Any], settings: Mapping[str, Any]) -> int:
    """Return the step of a state. Raises ValueError for no state, or one of other `settings`."""
    for name, expected in settings.items():
        if state.get(name) != expected:
            raise ValueError(
                f"state: {name} is {state.get(name)!r}, this reader's is {expected!r}; its steps "
                "are other rows"
            )
    return _whole("state: step", state.get("step"), 0)


def _whole(name: str, value: Any, least: int | None) -> int:
    """Return a whole number. Raises ValueError with its name where it is none, or below `least`."""
    expected = "a whole number" + ("" if least is None else f", {least} or more")
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} is {value!r}, expected {expected}") from None
    if isinstance(value, bool) or (least is not None and number < least):
        raise ValueError(f"{name} is {value!r}, expected {expected}")
    return number
