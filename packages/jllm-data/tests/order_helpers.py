"""The definition of docs/data_order.md written a second time, in plain Python and naively."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import strategies as st

from jllm.data.reading.mixture_shares import whole_weights

MASK = (1 << 64) - 1

WEIGHTS = st.lists(st.integers(1, 60), min_size=1, max_size=7).map(
    lambda weights: whole_weights(tuple(map(Fraction, weights)))
)


def mix(x: int) -> int:
    """SplitMix64."""
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def stream_plainly(group_rows: list[int], seed: int, epoch: int) -> list[tuple[int, int]]:
    """All rows of an epoch in order, hashed and sorted in Python integers alone."""

    def permute(n: int, *keys: int) -> list[int]:
        state = 0
        for key in keys:
            state = mix(state ^ (key & MASK))
        return sorted(range(n), key=lambda index: mix(state ^ index))

    groups = permute(len(group_rows), seed, epoch, 0)
    return [(g, r) for g in groups for r in permute(group_rows[g], seed, epoch, 1, g)]


def period_plainly(weights: tuple[int, ...]) -> list[int]:
    """Tijdeman's rule with fractions, place by place."""
    total, slack = sum(weights), Fraction(1, max(1, 2 * len(weights) - 2))
    counts, places = [0] * len(weights), []
    for n in range(1, total + 1):
        shares = [Fraction(weight, total) for weight in weights]
        open_ones = [d for d, share in enumerate(shares) if share * n - counts[d] >= slack]
        waits = {d: (counts[d] + 1 - slack) // shares[d] for d in open_ones or range(len(shares))}
        chosen = min(waits, key=lambda d: (waits[d], d))
        counts[chosen] += 1
        places.append(chosen)
    return places


def places_plainly(
    group_rows: list[list[int]], weights: tuple[int, ...], size: int, seed: int, steps: int
) -> list[list[tuple[int, int, int]]]:
    """(data set, row group, row) of the rows of the first steps, dealt out one after another."""
    period = period_plainly(weights)
    owners = [[period[(s * size + i) % len(period)] for i in range(size)] for s in range(steps)]
    every = [
        [period[(s * size + i) % len(period)] for i in range(size)] for s in range(len(period))
    ]
    lanes = [max(batch.count(d) for batch in every) for d in range(len(weights))]
    dealt, batches = [0] * len(weights), []
    for batch in owners:
        found = []
        for d in batch:
            round_, lane = divmod(dealt[d], lanes[d])
            length = sum(group_rows[d]) // lanes[d]
            own = seed if len(weights) == 1 else mix(mix(seed) ^ d)
            stream = stream_plainly(group_rows[d], own, round_ // length)
            found.append((d, lane, *stream[lane * length + round_ % length]))
            dealt[d] += 1
        batches.append([(d, group, row) for d, _, group, row in sorted(found)])
    return batches
