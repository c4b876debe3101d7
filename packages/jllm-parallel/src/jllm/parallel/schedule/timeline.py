"""The times at which actions ran: the result of simulating or of executing a schedule."""

from __future__ import annotations

from dataclasses import dataclass

from jllm.parallel.schedule.actions import FORWARD, Action


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """One action and its times, in seconds since an instant common to all ranks."""

    action: Action
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The spans of every rank in one step, in the order in which they ran."""

    name: str
    """Title of a picture of it."""
    ranks: tuple[tuple[Span, ...], ...]
    """Spans of each rank."""

    @property
    def start(self) -> float:
        """Start of the first action of all ranks, in seconds."""
        return min(span.start for spans in self.ranks for span in spans)

    @property
    def step_time(self) -> float:
        """Seconds from the start of the first action of all ranks to the end of the last."""
        return max(span.end for spans in self.ranks for span in spans) - self.start

    @property
    def busy(self) -> tuple[float, ...]:
        """Seconds of computation of each rank."""
        return tuple(sum(span.end - span.start for span in spans) for spans in self.ranks)

    @property
    def idle(self) -> tuple[float, ...]:
        """Seconds of the step during which each rank does not compute."""
        return tuple(self.step_time - busy for busy in self.busy)

    @property
    def bubble(self) -> float:
        """Fraction of the time of all ranks, 0 … 1, during which they do not compute."""
        return sum(self.idle) / (self.step_time * len(self.ranks))

    @property
    def peak_live(self) -> tuple[int, ...]:
        """For each rank, the most micro-batches whose activations it holds at once."""
        return tuple(peak_live([span.action for span in spans]) for spans in self.ranks)

    def peak_bytes(self, activation_bytes: tuple[float, ...]) -> tuple[float, ...]:
        """Return each rank's peak activation bytes, given the bytes per micro-batch there."""
        return tuple(n * size for n, size in zip(self.peak_live, activation_bytes, strict=True))


def peak_live(actions: list[Action] | tuple[Action, ...]) -> int:
    """Return the most micro-batches whose activations a rank running `actions` holds at once."""
    live = peak = 0
    for action in actions:
        live += 1 if action.kind == FORWARD else -1
        peak = max(peak, live)
    return peak
