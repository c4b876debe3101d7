"""Numbers between numpy and Arrow, as they lie in memory.

`pa.array` and `to_numpy` would import pandas where that is installed: 0.2 s of every process.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def to_numpy(numbers: pa.Array) -> np.ndarray:
    """Integer or floats without nulls, not copied; read only."""
    return np.from_dlpack(numbers)


def to_arrow(numbers: np.ndarray) -> pa.Array:
    """Return a flat array; copied only where its elements do not lie one after another."""
    plain = np.ascontiguousarray(numbers)
    kind = pa.from_numpy_dtype(plain.dtype)
    return pa.Array.from_buffers(kind, len(plain), [None, pa.py_buffer(plain)])
