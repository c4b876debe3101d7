"""Conversion of numbers between numpy and Arrow, without copies where possible.

`pa.array` and `to_numpy` would import pandas where it is installed: 0.2 s in every process.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def to_numpy(numbers: pa.Array) -> np.ndarray:
    """Return integers or floats without nulls as a read-only view."""
    return np.from_dlpack(numbers)


def to_arrow(numbers: np.ndarray) -> pa.Array:
    """Return a flat array; copied only where its elements are not contiguous."""
    plain = np.ascontiguousarray(numbers)
    kind = pa.from_numpy_dtype(plain.dtype)
    return pa.Array.from_buffers(kind, len(plain), [None, pa.py_buffer(plain)])
