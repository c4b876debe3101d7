"""Sampling options, checked before anything heavy is imported."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Sampling options; the restrictions apply in the order of these fields."""

    temperature: float = 0.0
    """Divisor of the logits; 0 takes the likeliest token."""
    top_k: int | None = None
    """Number of likeliest tokens to draw from; None for all."""
    top_p: float = 1.0
    """Least total probability of the likeliest tokens to draw from."""
    seed: int = 0
    """Seed of the draws."""

    def check(self) -> None:
        """Check the values. Raises ValueError that names the flag of an invalid one."""
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"--temperature must be 0 or more, found {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"--top_k must be at least 1, found {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"--top_p must be above 0 and at most 1, found {self.top_p}")
        if self.temperature == 0 and (self.top_k is not None or self.top_p < 1):
            raise ValueError(
                "--top_k and --top_p restrict what is drawn, and --temperature 0 draws nothing: "
                "give a --temperature above 0"
            )
