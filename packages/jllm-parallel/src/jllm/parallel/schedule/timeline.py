"""When each action ran: the common result of simulating and of executing a schedule."""

from __future__ import annotations

from dataclasses import dataclass

from jllm.parallel.schedule.actions import FORWARD, Action


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """One action and its time, in seconds since a moment common to all ranks."""

    action: Action
    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The spans of every rank of one step, in the order in which they ran."""

    name: str
    """What is shown, for pictures."""
    ranks: tuple[tuple[Span, ...], ...]
    """Spans of each rank."""

    @property
    def start(self) -> float:
        """When the first action began, in seconds."""
        return min(span.start for spans in self.ranks for span in spans)

    @property
    def step_time(self) -> float:
        """From the begin of the first action of all ranks to the end of the last, in seconds."""
        return max(span.end for spans in self.ranks for span in spans) - self.start

    @property
    def busy(self) -> tuple[float, ...]:
        """Seconds of computation of each rank."""
        return tuple(sum(span.end - span.start for span in spans) for spans in self.ranks)

    @property
    def idle(self) -> tuple[float, ...]:
        """Seconds of the step in which each rank does not compute."""
        return tuple(self.step_time - busy for busy in self.busy)

    @property
    def bubble(self) -> float:
        """The part of all ranks' time, 0 … 1, in which they do not compute."""
        return sum(self.idle) / (self.step_time * len(self.ranks))

    @property
    def peak_live(self) -> tuple[int, ...]:
        """For each rank the most micro-batches that have begun their forward and not ended their
        backward."""
        return tuple(peak_live([span.action for span in spans]) for spans in self.ranks)

    def peak_bytes(self, activation_bytes: tuple[float, ...]) -> tuple[float, ...]:
        """Peak activation memory of each rank, given the bytes that one micro-batch keeps there."""
        return tuple(n * size for n, size in zip(self.peak_live, activation_bytes, strict=True))


def peak_live(actions: list[Action] | tuple[Action, ...]) -> int:
    """Return the most micro-batches whose activations a rank holds at once when it runs
    `actions`."""
    live = peak = 0
    for action in actions:
        live += 1 if action.kind == FORWARD else -1
        peak = max(peak, live)
    return peak
