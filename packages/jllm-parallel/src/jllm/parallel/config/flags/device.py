"""Flags: device."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Device:
    """What computes, in which precision."""

    device: Literal["auto", "cpu", "cuda", "npu"] = "auto"
    """Kind of device. auto: cuda or npu where there is one."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of weights and activations; sums, master weights and moments are float32. auto: float32
    on CPU, bfloat16 elsewhere."""
    attention: str = "sdpa"
    """Attention back end."""
    threads: int = 0
    """CPU threads a process computes with. 0: the machine's cores divided by its processes. On CPU
    the last bits of a result depend on it."""
    timeout: int = 3600
    """Seconds after which a process that waits for another gives up."""
