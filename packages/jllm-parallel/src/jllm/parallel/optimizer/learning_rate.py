"""The learning rate as a pure function of the step."""

import math


def learning_rate(
    step: int, *, peak: float, total_steps: int, warmup: float = 0.0, schedule: str = "cosine"
) -> float:
    """Return the learning rate of optimizer step `step`, counted from 0.

    It rises linearly over the warm-up, whose last step has `peak`. With `schedule` cosine or linear
    it then falls to 0 at `total_steps`, along the curve of Transformers' scheduler of that name;
    with constant it stays at `peak`. `warmup` is a number of steps or, below 1, a fraction of
    `total_steps`, rounded down.

    Raises ValueError where the schedule is unknown.
    """
    rising = warmup_steps(warmup, total_steps)
    if step < rising:
        return peak * (step + 1) / rising
    progress = (step - rising) / max(1, total_steps - rising)
    match schedule:
        case "constant":
            return peak
        case "linear":
            return peak * (1 - progress)
        case "cosine":
            return peak * 0.5 * (1 + math.cos(math.pi * progress))
    raise ValueError(f"--lr_scheduler_type {schedule}: cosine, linear or constant")


def warmup_steps(warmup: float, total_steps: int) -> int:
    """Turn --num_warmup_steps into a number of steps: from 1 up it is one, below 1 a fraction."""
    return int(warmup) if warmup >= 1 else int(warmup * total_steps)
