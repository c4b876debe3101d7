"""Rotary position embedding (arXiv:2104.09864) and its scaling for longer contexts.

`linear` divides every frequency; `dynamic` raises the base for documents longer than the original
length; `llama3` divides only the frequencies of long wavelengths; `yarn` (arXiv:2309.00071) ramps
between kept and divided frequencies and scales the attention. The values are those of Transformers,
which is the reference in tests.

Letters: T tokens, N heads, K head_dim, R = K/2 rotated pairs.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from jllm.models.config.decoder_config import RopeConfig
from jllm.models.layers.documents import Documents


@dataclass(frozen=True, kw_only=True, eq=False)
class Rotary:
    """Cosine and sine of every token's angles, each [T, 1, R], broadcast over heads."""

    cos: Tensor
    sin: Tensor
    interleaved: bool = False
    """Whether pairs are (2r, 2r + 1) rather than (r, r + R)."""


def rotary_tables(
    rope: RopeConfig, head_dim: int, documents: Documents, dtype: torch.dtype
) -> Rotary:
    """Compute the angles of a micro-batch for all layers in fp32, then round them to `dtype`."""
    device = documents.positions.device
    positions_T1 = documents.positions[:, None].float()
    known, past = rope.original_max_position_embeddings, documents.past
    if rope.type == "dynamic" and documents.max_length > known:
        frequencies = torch.cat(
            [
                inverse_frequencies(rope, head_dim, max(past + length, known)).expand(length, -1)
                for length in documents.lengths
            ]
        )
    else:
        frequencies = inverse_frequencies(rope, head_dim, known)[None]
    angles_TR = positions_T1 * frequencies.to(device)
    cos, sin = (
        (values * rope.attention_scaling).to(dtype)[:, None, :]
        for values in (angles_TR.cos(), angles_TR.sin())
    )
    return Rotary(cos=cos, sin=sin, interleaved=rope.interleaved)


@lru_cache(maxsize=256)
def inverse_frequencies(rope: RopeConfig, head_dim: int, length: int = 0) -> Tensor:
    """Return the angle per position of each pair, fp32 [R]; only `dynamic` uses `length` (tokens).

    Do not modify the result, which is cached.
    """
    theta = rope.theta
    if rope.type == "dynamic":
        known = rope.original_max_position_embeddings
        ratio = max(length, known) / known
        if rope.in_powers_of_two:
            ratio = 2 ** math.ceil(math.log2(ratio))
        stretch = rope.factor * ratio - (rope.factor - 1)
        theta *= stretch ** (head_dim / (head_dim - 2))
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    powers = theta**exponents
    plain = 1.0 / powers
    match rope.type:
        case "default" | "dynamic":
            return plain
        case "linear":
            return plain / rope.factor
        case "llama3":
            return _llama3(rope, plain)
        case "yarn":
            return _yarn(rope, powers, head_dim)
    raise AssertionError(f"family files let no rope type {rope.type!r} through")


def _llama3(rope: RopeConfig, plain: Tensor) -> Tensor:
    """Keep the frequencies of short wavelengths, divide those of long ones, interpolate between."""
    known = rope.original_max_position_embeddings
    wavelengths = 2 * math.pi / plain
    low, high = rope.low_freq_factor, rope.high_freq_factor
    smooth = ((known / wavelengths - low) / (high - low)).clamp(0, 1)
    return (1 - smooth) * plain / rope.factor + smooth * plain


def _yarn(rope: RopeConfig, powers: Tensor, head_dim: int) -> Tensor:
    """Keep the frequencies of fast dimensions, divide those of slow ones, ramp between."""

    def dimension(turns: float) -> float:
        """Return the (fractional) dimension with this many rotations in the original length."""
        known = rope.original_max_position_embeddings
        return head_dim * math.log(known / (turns * 2 * math.pi)) / (2 * math.log(rope.theta))

    low, high = dimension(rope.beta_fast), dimension(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    width = high - low if high != low else 0.001
    ramp = ((torch.arange(head_dim // 2, dtype=torch.float32) - low) / width).clamp(0, 1)
    return ramp / (rope.factor * powers) + (1 - ramp) / powers


def rotate(x_TNK: Tensor, rotary: Rotary) -> Tensor:
    """Rotate the pairs in the last 2R elements of every head by the token's angles; [T, N, K]."""
    return _Rotate.apply(x_TNK, rotary.cos, rotary.sin, rotary.interleaved)


class _Rotate(torch.autograd.Function):
    """Rotation whose gradient is the inverse rotation, so that only the angles are kept."""

    @staticmethod
    def forward(ctx: Any, x_TNK: Tensor, cos: Tensor, sin: Tensor, interleaved: bool) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.interleaved = interleaved
        return _rotated(x_TNK, cos, sin, interleaved, 1.0)

    @staticmethod
    @once_differentiable
    # pyrefly: ignore [bad-override]
    def backward(ctx: Any, grad_TNK: Tensor) -> tuple[Tensor, None, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotated(grad_TNK, cos, sin, ctx.interleaved, -1.0), None, None, None


def _rotated(
    x_TNK: Tensor, cos: Tensor, sin: Tensor, interleaved: bool, direction: float
) -> Tensor:
    """Rotate forwards (1.0) or backwards (−1.0); one new tensor, no temporary."""
    out_TNK = torch.empty(x_TNK.shape, dtype=x_TNK.dtype, device=x_TNK.device)
    if kept := x_TNK.shape[-1] - 2 * cos.shape[-1]:
        out_TNK[..., :kept] = x_TNK[..., :kept]
    first, second = _pairs(x_TNK[..., kept:], interleaved)
    out_first, out_second = _pairs(out_TNK[..., kept:], interleaved)
    torch.mul(first, cos, out=out_first).addcmul_(second, sin, value=-direction)
    torch.mul(second, cos, out=out_second).addcmul_(first, sin, value=direction)
    return out_TNK


def _pairs(x_TNR2: Tensor, interleaved: bool) -> tuple[Tensor, Tensor]:
    """Return views of the first and of the second elements of all pairs."""
    if interleaved:
        return x_TNR2[..., 0::2], x_TNR2[..., 1::2]
    first, second = x_TNR2.chunk(2, dim=-1)
    return first, second
