"""The learning rate as a pure function of the step."""

import math


def learning_rate(
    step: int, *, peak: float, total_steps: int, warmup: float = 0.0, schedule: str = "cosine"
) -> float:
    """Return the learning rate of one optimizer step.

    It rises linearly over the warm-up, whose last step has `peak`, then falls to 0 at `total_steps`
    along the curve that Transformers' schedulers of the same names follow.

    Args:
        step: 0 for the first optimizer step.
        peak: highest learning rate.
        total_steps: steps of the whole run.
        warmup: steps of warm-up; below 1, the fraction of `total_steps`, rounded down.
        schedule: cosine, linear or constant.

    Raises:
        ValueError: the schedule is unknown.
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
    """Turn --num_warmup_steps into a number of steps: at least 1 means steps, below 1 a
    fraction."""
    return int(warmup) if warmup >= 1 else int(warmup * total_steps)
