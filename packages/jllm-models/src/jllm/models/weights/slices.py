"""Slices: the parts of Hugging Face tensors that local parameters hold.

A `Slice` pairs a box of a whole tensor (`there`) with a box of equal extents of a local parameter
(`here`). Fused, split, stacked, sharded and expert weights are all described by slices, so loading,
saving, optimizer shards and conversion share these few pure functions. They take microseconds per
slice and never read data.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

Box = tuple[tuple[int, int], ...]
"""Half-open (start, stop) ranges, one per dimension; () is the box of a scalar."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """A box of the Hugging Face tensor `tensor`, held in a box of the local parameter."""

    parameter: str
    """Name of the local parameter."""
    tensor: str
    """Name of the tensor in the Hugging Face files."""
    shape: tuple[int, ...]
    """Shape of the whole tensor."""
    there: Box
    """Box in the whole tensor."""
    here: Box
    """Box in the local parameter, of the same extents as `there`."""

    def __post_init__(self) -> None:
        """Check that the two boxes have the same extents and that `there` is inside the tensor."""
        assert len(self.there) == len(self.here) == len(self.shape), self
        for (start, stop), (low, high), size in zip(self.there, self.here, self.shape, strict=True):
            assert 0 <= start <= stop <= size and low >= 0 and stop - start == high - low, self

    @property
    def extents(self) -> tuple[int, ...]:
        """Shape of both boxes."""
        return tuple(stop - start for start, stop in self.there)

    @property
    def here_index(self) -> tuple[slice, ...]:
        """`here` as an index: `parameter[slice_.here_index]`."""
        return tuple(slice(start, stop) for start, stop in self.here)

    @property
    def there_index(self) -> tuple[slice, ...]:
        """`there` as an index: `tensor[slice_.there_index]`."""
        return tuple(slice(start, stop) for start, stop in self.there)


def whole(parameter: str, tensor: str, shape: Iterable[int]) -> Slice:
    """Return the slice of a parameter that holds a whole tensor and nothing else."""
    shape = tuple(shape)
    box = tuple((0, size) for size in shape)
    return Slice(parameter=parameter, tensor=tensor, shape=shape, there=box, here=box)


def shapes(slices: Iterable[Slice]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every whole tensor that the slices name, in order of appearance."""
    found: dict[str, tuple[int, ...]] = {}
    for piece in slices:
        assert found.setdefault(piece.tensor, piece.shape) == piece.shape, piece
    return found


def rows(slices: Iterable[Slice], parameter: str, start: int, stop: int) -> tuple[Slice, ...]:
    """Restrict the slices of one parameter to its rows [start, stop) along dimension 0.

    The result describes a tensor of only those rows: its `here` starts at row 0. A ZeRO shard of a
    parameter finds its bytes of the Hugging Face tensors this way.
    """
    assert 0 <= start <= stop, (start, stop)
    kept = []
    for piece in slices:
        if piece.parameter != parameter:
            continue
        assert piece.here, f"{piece}: a scalar has no rows"
        (here_start, here_stop), (there_start, _) = piece.here[0], piece.there[0]
        low, high = max(start, here_start), min(stop, here_stop)
        if low >= high:
            continue
        offset = there_start - here_start
        there = ((low + offset, high + offset), *piece.there[1:])
        here = ((low - start, high - start), *piece.here[1:])
        kept.append(replace(piece, there=there, here=here))
    return tuple(kept)


def strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the row-major strides of a shape, in elements."""
    return tuple(math.prod(shape[dim + 1 :]) for dim in range(len(shape)))


def first_element(piece: Slice) -> int:
    """Return the row-major index of the first element of `there` in the whole tensor."""
    pairs = zip(piece.there, strides(piece.shape), strict=True)
    return sum(start * stride for (start, _), stride in pairs)


def span(piece: Slice) -> int:
    """Return the number of elements from the first to the last of `there`, gaps included."""
    if 0 in piece.extents:
        return 0
    pairs = zip(piece.extents, strides(piece.shape), strict=True)
    return 1 + sum((extent - 1) * stride for extent, stride in pairs)


def split(piece: Slice, limit: int) -> Iterator[Slice]:
    """Cut a slice into slices whose span is at most `limit` elements, in row-major order.

    The outermost dimension is cut first, so the pieces of a contiguous slice are contiguous too. An
    empty slice has no pieces.
    """
    assert limit > 0
    length = span(piece)
    if length == 0:
        return
    if length <= limit:
        yield piece
        return
    dim = next(index for index, extent in enumerate(piece.extents) if extent > 1)
    stride = strides(piece.shape)[dim]
    one_row = length - (piece.extents[dim] - 1) * stride
    step = 1 if one_row >= limit else 1 + (limit - one_row) // stride
    for low in range(0, piece.extents[dim], step):
        high = min(low + step, piece.extents[dim])
        cut = replace(
            piece,
            there=_narrow(piece.there, dim, low, high),
            here=_narrow(piece.here, dim, low, high),
        )
        yield from split(cut, limit)


def _narrow(box: Box, dim: int, low: int, high: int) -> Box:
    """Return the box with `dim` restricted to [low, high), relative to its start."""
    start = box[dim][0]
    return (*box[:dim], (start + low, start + high), *box[dim + 1 :])


@dataclass(frozen=True, slots=True)
class Run:
    """`count` contiguous runs of `length` elements, `stride` apart, the first at `offset`."""

    offset: int
    length: int
    count: int
    stride: int


def runs(piece: Slice) -> Iterator[Run]:
    """Yield the contiguous runs of a slice in the whole tensor, in row-major order, in elements.

    Equally spaced runs are one `Run`, so a box of a matrix is always a single one.
    """
    if 0 in piece.extents:
        return
    levels: list[tuple[int, int]] = []  # (extent, stride), outermost first, merged where dense
    for extent, stride in zip(piece.extents, strides(piece.shape), strict=True):
        if levels and levels[-1][1] == extent * stride:
            levels[-1] = (levels[-1][0] * extent, stride)
        elif extent > 1:
            levels.append((extent, stride))
    length = levels.pop()[0] if levels and levels[-1][1] == 1 else 1
    count, stride = levels.pop() if levels else (1, length)
    offsets = [first_element(piece)]
    for extent, outer in levels:
        offsets = [offset + index * outer for offset in offsets for index in range(extent)]
    for offset in offsets:
        yield Run(offset, length, count, stride)


def assert_cover(slices: Iterable[Slice], whole_shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Assert that the slices hold every element of every tensor exactly once.

    Pairwise disjoint boxes inside a tensor cover it exactly where their sizes add up to its size.
    Costs O(n²) in the slices of one tensor.
    """
    by_tensor: dict[str, list[Slice]] = {name: [] for name in whole_shapes}
    for piece in slices:
        assert piece.tensor in by_tensor, f"{piece.tensor} is no tensor of the model: {piece}"
        assert piece.shape == tuple(whole_shapes[piece.tensor]), piece
        if 0 not in piece.extents:
            by_tensor[piece.tensor].append(piece)
    for name, pieces in by_tensor.items():
        for index, one in enumerate(pieces):
            for other in pieces[:index]:
                assert not _overlap(one.there, other.there), f"held twice: {one} and {other}"
        held = sum(math.prod(piece.extents) for piece in pieces)
        size = math.prod(whole_shapes[name])
        assert held == size, f"{name}: {held} of {size} elements are held"


def _overlap(one: Box, other: Box) -> bool:
    """Return whether two non-empty boxes overlap."""
    pairs = zip(one, other, strict=True)
    return all(max(a[0], b[0]) < min(a[1], b[1]) for a, b in pairs)
