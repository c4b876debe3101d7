"""Serving batches to the stages of a pipeline: the first stage reads rows and sends the others
their parts.

The last stage gets the targets, and the tokens where it asks for them. All stages get the document
bounds, which documents count, and the sizes of the global step. A thread on every process does this
one request ahead of the computation, on process groups of its own, so reading and sending overlap
with the step before.

All processes make the same requests in the same order, which keeps the threads matched.
"""

import itertools
import queue
import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.distributed as dist

from jllm.data.reading.reader import Batch, LaneReader
from jllm.parallel.distributed.mesh import Mesh
from jllm.parallel.feed.step_data import MicroBatch, StepData, StepShape


def lanes(global_batch_size: int, replicas: int, replica: int) -> range:
    """Return the lanes of a replica: a contiguous run, so that another layout only moves lanes."""
    each = global_batch_size // replicas
    return range(replica * each, (replica + 1) * each)


def join_bounds(rows: Sequence[np.ndarray], length: int) -> tuple[int, ...]:
    """Join the document bounds of rows of `length` positions laid end to end."""
    joined = [0]
    for i, row in enumerate(rows):
        joined.extend(int(b) + i * length for b in row[1:])
    return tuple(joined)


class Feed:
    """The requested steps of named data sets, served to this process in the order of requests."""

    def __init__(
        self,
        readers: dict[str, LaneReader] | None,
        mesh: Mesh,
        *,
        shapes: Mapping[str, StepShape],
        vocabulary: int,
        tokens_to_last: bool = False,
        skip_untrained: bool = False,
    ) -> None:
        """Start the thread.

        On the first stage, `readers` has one reader of this replica's lanes per data set; on other
        stages it is None. `shapes` are the sizes of each data set's steps, by the same names. Data
        with a token of `vocabulary` or above are refused. With `tokens_to_last`, the same on all
        processes, the last stage gets the tokens too. With `skip_untrained`, training steps without
        a trained token are served instead of refused.
        """
        assert (readers is not None) == mesh.first
        self._readers, self._mesh, self._shapes = readers, mesh, shapes
        self._vocabulary, self._tokens_to_last = vocabulary, tokens_to_last
        self._skip_untrained = skip_untrained
        self._requests: queue.Queue[tuple[str, int] | None] = queue.Queue()
        self._served: queue.Queue[StepData | Exception] = queue.Queue()
        self._thread = threading.Thread(target=self._serve, name="feed", daemon=True)
        self._thread.start()

    def request(self, name: str, step: int) -> None:
        """Request a step, which `get` returns later."""
        self._requests.put((name, step))

    def get(self) -> StepData:
        """Wait for the oldest request and return its data.

        Raises ValueError where the data are wrong, here or at another reader.
        """
        served = self._served.get()
        if isinstance(served, Exception):
            raise served
        return served

    def close(self) -> None:
        """End the thread once all requests are served, and close the readers."""
        self._requests.put(None)
        self._thread.join()
        for reader in (self._readers or {}).values():
            reader.close()

    def _serve(self) -> None:
        receive: Callable[[str, int], StepData] = self._read if self._mesh.first else self._receive
        while (request := self._requests.get()) is not None:
            try:
                self._served.put(receive(*request))
            except Exception as e:  # noqa: BLE001  # handed to the main thread, which raises it
                self._served.put(e)
                return

    def _read(self, name: str, step: int) -> StepData:
        assert self._readers is not None
        failure, batch = None, None
        try:
            batch = self._readers[name].read(step)
            self._check_vocabulary(name, batch)
        except (ValueError, OSError) as e:
            failure = e
        counted = [] if batch is None else counted_documents(batch)
        sizes = torch.zeros(4, dtype=torch.int64)
        sizes[3] = int(failure is not None)
        if batch is not None:
            sizes[:3] = torch.tensor(batch_sizes(batch, counted))
        if self._mesh.feed_readers is not None:
            dist.all_reduce(sizes, group=self._mesh.feed_readers)
        failed = int(sizes[3])
        if not (failed or sizes[0] or self._skip_untrained) and name == "train":
            failure = ValueError(
                f"--train_data: no row of step {step + 1} has a trained token: convert the data "
                "with --filter, or pass over such steps with --skip_untrained_batches"
            )
        if failed or failure:
            self._to_others(torch.tensor([-1, 0, 0, 0], dtype=torch.int64))
            raise failure or ValueError(
                "the reader of another replica failed; its message is above"
            )
        assert batch is not None
        return self._distribute(batch, counted, sizes[:3], self._shapes[name])

    def _check_vocabulary(self, name: str, batch: Batch) -> None:
        largest = max(int(batch.tokens.max()), int(batch.targets.max()))
        if largest >= self._vocabulary:
            raise ValueError(
                f"step {batch.step + 1} of the {name} data has the token {largest}, the model a "
                f"vocabulary of {self._vocabulary}: convert the data with this model's tokenizer"
            )

    def _distribute(
        self, batch: Batch, counted: list[np.ndarray], sizes: torch.Tensor, shape: StepShape
    ) -> StepData:
        """Send a batch to the other stages, and return the first stage's part."""
        count, rows = shape.micro_batches, shape.rows
        assert batch.tokens.shape == (count * rows, shape.length), batch.tokens.shape
        tokens = torch.from_numpy(np.ascontiguousarray(batch.tokens)).view(count, -1)
        targets = torch.from_numpy(np.ascontiguousarray(batch.targets)).view(count, -1)
        bounds = [
            join_bounds(batch.bounds[m * rows : (m + 1) * rows], shape.length) for m in range(count)
        ]
        flat = torch.tensor([b for bound in bounds for b in bound], dtype=torch.int32)
        flags = torch.from_numpy(np.concatenate(counted))
        self._to_others(torch.cat([torch.tensor([len(flat)]), sizes]))
        self._to_others(torch.cat([flat, flags.int()]))
        pp = self._mesh.pp
        if pp.size > 1:
            for tensor in (targets, tokens) if self._tokens_to_last else (targets,):
                dist.send(tensor, pp.ranks[-1], group=self._mesh.feed_pipeline)
        own_targets = targets if self._mesh.last else None
        return _step_data(sizes.tolist(), shape, bounds, flags.tolist(), tokens, own_targets)

    def _to_others(self, tensor: torch.Tensor) -> None:
        for other in self._mesh.pp.ranks[1:]:
            dist.send(tensor, other, group=self._mesh.feed_pipeline)

    def _receive(self, name: str, step: int) -> StepData:
        source, group = self._mesh.pp.ranks[0], self._mesh.feed_pipeline
        header, shape = torch.zeros(4, dtype=torch.int64), self._shapes[name]
        dist.recv(header, source, group=group)
        size, *sizes = header.tolist()
        if size < 0:
            raise ValueError("the reader of this pipeline failed; its message is above")
        flat = torch.zeros(size + size - shape.micro_batches, dtype=torch.int32)
        dist.recv(flat, source, group=group)
        bounds, flags = flat[:size].tolist(), flat[size:].bool().tolist()
        received: list[torch.Tensor | None] = [None, None]  # targets, tokens
        for index in range(1 + self._tokens_to_last) if self._mesh.last else ():
            tensor = torch.zeros(shape.micro_batches, shape.tokens, dtype=torch.int32)
            dist.recv(tensor, source, group=group)
            received[index] = tensor
        targets, tokens = received
        return _step_data(sizes, shape, split_bounds(bounds), flags, tokens, targets)


def counted_documents(batch: Batch) -> list[np.ndarray]:
    """Return, for each row, a bool array: whether each document has a trained target."""
    return [
        np.logical_or.reduceat(targets != -100, bounds[:-1])
        for targets, bounds in zip(batch.targets, batch.bounds, strict=True)
    ]


def batch_sizes(batch: Batch, counted: Sequence[np.ndarray]) -> tuple[int, int, int]:
    """Count a batch's trained targets, positions of counted documents, and rows with one."""
    positions = sum(
        int(np.diff(bounds)[flags].sum())
        for bounds, flags in zip(batch.bounds, counted, strict=True)
    )
    return int((batch.targets != -100).sum()), positions, sum(bool(f.any()) for f in counted)


def split_bounds(flat: Sequence[int]) -> list[tuple[int, ...]]:
    """Split concatenated bounds again: each starts at 0, and no other entry is 0."""
    starts = [i for i, b in enumerate(flat) if b == 0] + [len(flat)]
    return [tuple(flat[a:b]) for a, b in zip(starts, starts[1:], strict=False)]


def _step_data(
    sizes: Sequence[int],
    shape: StepShape,
    bounds: Sequence[tuple[int, ...]],
    flags: Sequence[bool],
    tokens: torch.Tensor | None,
    targets: torch.Tensor | None,
) -> StepData:
    trained, counted, rows = sizes
    left = iter(flags)
    return StepData(
        trained_tokens=trained,
        counted_tokens=counted,
        counted_rows=rows,
        length=shape.length,
        micro_batches=tuple(
            MicroBatch(
                bounds=bound,
                counted=tuple(itertools.islice(left, len(bound) - 1)),
                tokens=None if tokens is None else tokens[m],
                targets=None if targets is None else targets[m],
            )
            for m, bound in enumerate(bounds)
        ),
    )
