"""The accelerators that torch finds, and how its processes can communicate."""

import json
from collections.abc import Iterator
from pathlib import Path

from jllm.cli.commands import PARALLEL
from jllm.cli.doctor.finding import Finding, State
from jllm.cli.doctor.libraries import run_probe
from jllm.cli.doctor.machine import gib

DRIVERS = {
    "dev/nvidiactl": ("an NVIDIA driver", "install torch's build for it"),
    "dev/davinci_manager": ("an Ascend driver", 'pip install "jllm-parallel[npu]"'),
}
"""Files created by a vendor's driver: {file: (the vendor, what is missing if torch finds no
device)}."""


def look_at_accelerators(root: Path = Path("/")) -> Iterator[Finding]:
    """Yield findings on accelerators, communication and attention back ends; needs torch."""
    outcome = run_probe("torch_probe.py")
    if outcome.error is not None:
        yield _told("accelerators", "torch", "broken", outcome.error, PARALLEL.install)
        return
    found = json.loads(outcome.last_line)
    yield _told("accelerators", "vectors", "found", f"{found['vectors']} on the processor")
    for number, device in enumerate(found["accelerators"]):
        memory = f", {gib(device['memory'])}" if device["memory"] else ""
        name = f"{device['kind']}:{number}"
        yield _told("accelerators", name, "found", device["name"] + memory)
    if not found["accelerators"]:
        yield from _none(root)
    there = found["backends"]
    detail = ", ".join(there) or "none: torch trains in one process only"
    yield _told("back ends", "communication", "found" if there else "missing", detail)
    if found["attention"]:
        yield _told("back ends", "attention", "found", ", ".join(found["attention"]))


def _none(root: Path) -> Iterator[Finding]:
    """Yield that there is no accelerator, and the vendors whose driver indicates one."""
    for file, (whose, mend) in DRIVERS.items():
        if (root / file).exists():
            detail = f"{whose} is here, but torch finds no device"
            yield _told("accelerators", "devices", "broken", detail, mend)
            return
    yield _told(
        "accelerators", "devices", "missing", "torch finds none, and computes on processors"
    )


def _told(group: str, name: str, state: State, detail: str, mend: str = "") -> Finding:
    return Finding(group=group, name=name, state=state, detail=detail, mend=mend)
