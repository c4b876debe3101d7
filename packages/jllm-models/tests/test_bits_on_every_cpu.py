"""The bits of an element do not depend on its place, whichever kernels the CPU is given.

torch and MKL choose their kernels by variables that they read when they are loaded: a process for
each choice runs the checks of `bits_helpers`.
"""

import os
import platform
import subprocess
import sys

import pytest
import torch

import bits_helpers

KERNELS = {
    "default": ({"ATEN_CPU_CAPABILITY": "default"}, None),
    "avx2": ({"ATEN_CPU_CAPABILITY": "avx2"}, "avx2"),
    "avx512": ({"ATEN_CPU_CAPABILITY": "avx512"}, "avx512_f"),
    "mkl-compatible": ({"MKL_CBWR": "COMPATIBLE"}, None),
}
"""The variables of a choice, and what the CPU must have for it."""


CHOOSING = {key for variables, _ in KERNELS.values() for key in variables}
"""All variables that choose kernels: those of this process are not a child's."""


@pytest.mark.parametrize("name", KERNELS)
def test_bits_do_not_depend_on_place(name: str) -> None:
    variables, needed = KERNELS[name]
    if needed is not None and not torch.cpu.get_capabilities().get(needed):
        pytest.skip(f"this CPU ({platform.machine()}) has no {needed}")
    kept = {key: value for key, value in os.environ.items() if key not in CHOOSING}
    environment = kept | variables | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, bits_helpers.__file__],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
