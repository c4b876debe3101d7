"""Weights of 8 bits with a scale for each block of rows and columns.

    <name>            float8_e4m3fn [rows, columns]
    <name>_scale_inv  float32 [⌈rows / R⌉, ⌈columns / C⌉]    weight = value · scale of its block

as DeepSeek-V3 publishes them (arXiv:2412.19437 §3.3) and vLLM reads them. `config.json` gives R and
C as `quantization_config.weight_block_size`. This module does not need PyTorch.
"""

import json
from pathlib import Path
from typing import Any

from jllm.models.weights.slices import Box, Slice

SCALES = "_scale_inv"
"""Suffix of a tensor's name in the name of its scales."""
MEND = "dequantise the weights"

Blocks = tuple[int, int]
"""Rows and columns of a block."""


def weight_blocks(quantization: Any, source: str) -> Blocks:
    """Return the blocks of a `quantization_config`. Raises ValueError for every other kind."""
    given = quantization if isinstance(quantization, dict) else {}
    method, kind = given.get("quant_method"), given.get("fmt", "e4m3")
    if (method, kind) != ("fp8", "e4m3"):
        raise ValueError(
            f"{source}: quantization_config: quant_method {method!r} (fmt {kind!r}) is not "
            f"supported; only 'fp8' (fmt 'e4m3') is; {MEND}"
        )
    size = given.get("weight_block_size")
    if not (isinstance(size, list) and len(size) == 2 and all(_is_size(each) for each in size)):
        raise ValueError(
            f"{source}: quantization_config: weight_block_size must be two positive whole numbers, "
            f"found {size!r}; {MEND}"
        )
    return size[0], size[1]


def _is_size(value: object) -> bool:
    """Return whether a JSON value is a positive integer."""
    return type(value) is int and value > 0


def directory_blocks(directory: Path) -> Blocks:
    """Return the blocks in the directory's `config.json`. Raises ValueError where it has none."""
    path = directory / "config.json"
    try:
        values = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        values = None
    quantization = values.get("quantization_config") if isinstance(values, dict) else None
    if not quantization:
        raise ValueError(
            f"{directory}: weights are float8, but {path.name} has no quantization_config that "
            "says what they are to be multiplied with; take the files of the same model"
        )
    return weight_blocks(quantization, str(path))


def scales_shape(shape: tuple[int, ...], blocks: Blocks) -> tuple[int, ...]:
    """Return the shape of a matrix's scales; for other shapes, one that no scales have."""
    return tuple(-(-size // block) for size, block in zip(shape, blocks, strict=False))


def scales_slice(piece: Slice, blocks: Blocks) -> Slice:
    """Return the slice of the scales that a slice of a matrix needs; `here` starts at 0."""
    there: Box = tuple(
        (start // block, -(-stop // block))
        for (start, stop), block in zip(piece.there, blocks, strict=True)
    )
    return Slice(
        parameter=piece.parameter + SCALES,
        tensor=piece.tensor + SCALES,
        shape=scales_shape(piece.shape, blocks),
        there=there,
        here=tuple((0, stop - start) for start, stop in there),
    )
