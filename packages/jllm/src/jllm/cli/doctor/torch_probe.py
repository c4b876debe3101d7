"""Print as JSON what torch can compute and communicate with: `python -P torch_probe.py`.

Names no kind of device itself: torch tells which accelerator it has. Run by its path in a separate
process, like probe.py.
"""

import json
import sys
from typing import Any

NO_BACKENDS = frozenset({"undefined", "fake"})
"""Names in torch's list that are not real back ends."""


def accelerators() -> list[dict[str, Any]]:
    """Return kind, name and memory in bytes of each accelerator, after a computation on it."""
    import torch

    if not torch.accelerator.is_available():
        return []
    kind = str(torch.accelerator.current_accelerator())
    module = torch.get_device_module(kind)
    found = []
    for number in range(torch.accelerator.device_count()):
        torch.ones(8, device=f"{kind}:{number}").sum().item()
        memory = getattr(module.get_device_properties(number), "total_memory", 0)
        found.append({"kind": kind, "name": module.get_device_name(number), "memory": memory})
    return found


def backends() -> list[str]:
    """Return the communication back ends that this torch was built with."""
    import torch.distributed as dist

    if not dist.is_available():
        return []
    names = [name for name in dist.Backend.backend_list if name not in NO_BACKENDS]
    return [name for name in names if dist.is_backend_available(name)]


def attention() -> list[str]:
    """Return the accepted values of --attention; none if jllm-models is not installed."""
    try:
        from jllm.models.layers.attention_backends import BACKENDS
    except ModuleNotFoundError:
        return []
    return [*BACKENDS]


def vectors() -> str:
    """Return the processor's vector instructions that torch uses."""
    import torch

    return torch.backends.cpu.get_cpu_capability()


if __name__ == "__main__":
    looks = (accelerators, attention, backends, vectors)
    found = {look.__name__: look() for look in looks}
    sys.stdout.write(f"\n{json.dumps(found)}\n")
