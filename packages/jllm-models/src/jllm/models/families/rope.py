"""The rotary parameters of a configuration: `rope_parameters`, or the older `rope_scaling`.

Precedence and defaults are those of Transformers 5, so both read a file in the same way.
"""

import math
from typing import Any

from jllm.models.config.decoder_config import ROPE_TYPES, RopeConfig
from jllm.models.families.fields import Fields


def require_rope(fields: Fields, kinds: tuple[str, ...]) -> None:
    """Refuse a rotary type that the family's published code does not have."""
    kind = _kind(_given(fields))
    if kind not in kinds:
        raise fields.error(f"unknown rope type {kind!r} here; known: {', '.join(kinds)}")


def rope_config(fields: Fields, max_position_embeddings: int) -> RopeConfig:
    """Read the rotary parameters; refuse an unknown type and missing or invalid numbers."""
    given = _given(fields)
    kind = _kind(given)
    if kind not in ROPE_TYPES:
        raise fields.error(f"unknown rope type {kind!r}; known: {', '.join(ROPE_TYPES)}")
    for partial in (given.get("partial_rotary_factor"), fields.values.get("partial_rotary_factor")):
        if partial not in (None, 1):
            raise fields.error(f"partial_rotary_factor = {partial!r} is not supported; only 1 is")

    def number(key: str, default: float | None = None) -> float:
        """Return one positive number of the rotary parameters."""
        value = fields.checked_number(f"rope {key}", given.get(key), default)
        if value <= 0:
            raise fields.error(f"rope {key} must be positive, found {value}")
        return value

    base = {"type": kind, "theta": number("rope_theta", fields.number("rope_theta", 10_000.0))}
    outer = fields.values.get("original_max_position_embeddings")
    known = given.get("original_max_position_embeddings") if outer is None else outer
    known = max_position_embeddings if known is None else known
    if isinstance(known, bool) or not isinstance(known, int) or known < 1:
        raise fields.error(
            f"original_max_position_embeddings must be a positive whole number, found {known!r}"
        )
    match kind:
        case "linear":
            return RopeConfig(**base, factor=number("factor"))
        case "dynamic":
            return RopeConfig(
                **base,
                factor=number("factor"),
                original_max_position_embeddings=max_position_embeddings,
            )
        case "llama3":
            low, high = number("low_freq_factor"), number("high_freq_factor")
            if low >= high:
                raise fields.error(
                    f"rope low_freq_factor = {low} must be less than high_freq_factor = {high}"
                )
            return RopeConfig(
                **base,
                factor=number("factor"),
                original_max_position_embeddings=known,
                low_freq_factor=low,
                high_freq_factor=high,
            )
        case "yarn":
            factor = number("factor", max_position_embeddings / known)
            return RopeConfig(
                **base,
                factor=factor,
                original_max_position_embeddings=known,
                beta_fast=number("beta_fast", 32.0),
                beta_slow=number("beta_slow", 1.0),
                truncate=bool(given.get("truncate", True)),
                attention_scaling=_yarn_scaling(given, factor, number),
            )
    return RopeConfig(**base)


def score_factor(fields: Fields) -> float:
    """Return the factor of attention scores by YaRN's `mscale_all_dim` (DeepSeek)."""
    given = _given(fields)
    if _kind(given) == "default":
        return 1.0
    if not given.get("mscale_all_dim"):
        if given.get("mscale") in (None, 1):
            return 1.0
        raise fields.error(
            f"mscale = {given['mscale']!r} without mscale_all_dim is not supported: the published "
            "code uses it, Transformers does not"
        )
    factor = fields.checked_number("rope factor", given.get("factor"))
    weight = fields.checked_number("rope mscale_all_dim", given["mscale_all_dim"])
    return _mscale(factor, weight) ** 2


def _given(fields: Fields) -> dict[str, Any]:
    """Return the object that holds the rotary parameters, empty where there is none."""
    given = fields.values.get("rope_scaling") or fields.values.get("rope_parameters") or {}
    if not isinstance(given, dict):
        raise fields.error(f"rope_parameters must be an object, found {given!r}")
    return given


def _kind(given: dict[str, Any]) -> str:
    """Return the rotary type."""
    return given.get("rope_type") or given.get("type") or "default"


def _yarn_scaling(given: dict[str, Any], factor: float, number: Any) -> float:
    """Return YaRN's factor of cosine and sine."""
    if given.get("attention_factor") is not None:
        return number("attention_factor")
    if given.get("mscale") and given.get("mscale_all_dim"):
        return _mscale(factor, number("mscale")) / _mscale(factor, number("mscale_all_dim"))
    return _mscale(factor, 1.0)


def _mscale(factor: float, weight: float) -> float:
    """Return the attention temperature of the YaRN paper for a scaling factor."""
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0
