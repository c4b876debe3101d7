"""Devices and back ends: the only module that names cuda, npu, cpu, nccl, hccl and gloo."""

import contextlib
import os
import resource
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import torch

_BACKENDS = {"cpu": "gloo", "cuda": "nccl", "npu": "hccl"}
CONTROL_BACKEND = "gloo"
"""Back end of the groups for host tensors: data, counts, agreement."""

# Dense bfloat16 peak of one device in FLOP/s, from the vendors' data sheets.
_PEAK_BFLOAT16 = {
    "A100": 312e12,
    "A800": 312e12,
    "H100": 989e12,
    "H200": 989e12,
    "H800": 989e12,
    "B200": 2250e12,
    "910B": 376e12,
}


def select(kind: str, local_rank: int) -> torch.device:
    """Choose this process's device, and make it current.

    `kind` is auto, cpu, cuda or npu; `local_rank` is the number of the process on its machine.

    Raises ValueError where there is no such device.
    """
    kind = kind_of(kind)
    if kind == "cpu":
        return torch.device("cpu")
    if not _present(kind):
        raise ValueError(f"--device {kind}: PyTorch finds none here; --device cpu runs anywhere")
    module = _module(kind)
    if local_rank >= module.device_count():
        raise ValueError(
            f"--device {kind}: process {local_rank} of this machine has none, there are "
            f"{module.device_count()}; start that many processes"
        )
    device = torch.device(kind, local_rank)
    module.set_device(device)
    return device


def kind_of(flag: str) -> str:
    """Resolve --device: auto is cuda or npu where there is one, else cpu."""
    if flag != "auto":
        return flag
    return next((kind for kind in ("cuda", "npu") if _present(kind)), "cpu")


def _present(kind: str) -> bool:
    if kind == "npu":
        try:
            import torch_npu  # noqa: F401  # registers torch.npu
        except (ImportError, RuntimeError):
            return False
    module = getattr(torch, kind, None)
    return module is not None and module.is_available()


def _module(kind: str) -> Any:
    module: ModuleType = getattr(torch, kind)
    return module


def backend(device: torch.device) -> str:
    """Return the name of the communication back end for a device's tensors."""
    return _BACKENDS[device.type]


def dtype_of(flag: str, kind: str) -> torch.dtype:
    """Resolve --dtype for a kind of device: auto is float32 on CPU, bfloat16 elsewhere."""
    if flag == "auto":
        return torch.float32 if kind == "cpu" else torch.bfloat16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[flag]


@contextlib.contextmanager
def naming_full_memory(device: torch.device, what: str) -> Iterator[None]:
    """Turn a failed allocation inside the block into a message for the user.

    Raises ValueError where `what` does not fit the device's memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        said = str(error)
        full = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not full and "allocate memory" not in said and "overflow" not in said:
            raise
        raise ValueError(
            f"{what} does not fit the memory of {device}: check the sizes in config.json, or take "
            "more processes and a larger --pipe_parallel_size"
        ) from error


def synchronize(device: torch.device) -> None:
    """Wait for the device's queued work; does nothing on CPU."""
    if device.type != "cpu":
        _module(device.type).synchronize(device)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes this process has held on the device; on CPU, resident in memory."""
    if device.type == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return _module(device.type).max_memory_allocated(device)


def set_threads(threads: int, processes_here: int) -> int:
    """Set the number of CPU threads of this process, and return it.

    0 divides the cores evenly among the machine's processes, but keeps an OMP_NUM_THREADS other
    than 1, the value that torchrun sets by itself.
    """
    if not threads:
        chosen = os.environ.get("OMP_NUM_THREADS", "1")
        threads = (
            int(chosen) if chosen != "1" else max(1, len(os.sched_getaffinity(0)) // processes_here)
        )
    torch.set_num_threads(threads)
    return threads


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Return the peak FLOP/s for MFU: the data sheet's, or those of a measured matrix product.

    Measuring takes about 0.2 s (CPUs and unknown devices).
    """
    if device.type != "cpu" and dtype is torch.bfloat16:
        name = _module(device.type).get_device_name(device)
        for known, flops in _PEAK_BFLOAT16.items():
            if known in name:
                return flops
    n = 768 if device.type == "cpu" else 8192
    a = torch.ones(n, n, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(5):
        synchronize(device)
        start = time.perf_counter()
        a @ a
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * n**3 / best
