"""Detecting tensors in a model directory that its config.json does not account for.

Ignoring them silently would change every result. Works on names alone, without PyTorch.
"""

from collections.abc import Iterable
from pathlib import Path

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.units import unit_count
from jllm.models.weights.blocks import SCALES
from jllm.models.weights.names import tensor_names
from jllm.models.weights.table import copied_slices, weight_table

COMPUTED = tuple(f".rotary_emb.{name}" for name in ("inv_freq", "cos_cached", "sin_cached"))
"""Suffixes of buffers in older files that are computed from the configuration."""
LISTED = 8
"""Most names listed in an error; the others are counted."""


def extra_tensors(config: DecoderConfig, names: Iterable[str]) -> list[str]:
    """Return the names that belong neither to the model nor to the tensors that may be ignored.

    Those are copies for multi-token prediction, scales of 8-bit weights, rotary buffers, and the
    head of a tied model.
    """
    units = range(unit_count(config))
    pieces = (*weight_table(config, units), *copied_slices(config, units))
    known = {piece.tensor for piece in pieces}
    known |= {name + SCALES for name in known if name.endswith(".weight")}
    if config.tie_word_embeddings:
        known.add(f"{config.names.head}.weight")
    return sorted(name for name in set(names) - known if not name.endswith(COMPUTED))


def refuse_extra(config: DecoderConfig, model_dir: Path) -> None:
    """Raise ValueError for a directory with tensors that the model does not have."""
    extra = extra_tensors(config, tensor_names(model_dir) or ())
    if extra:
        more = f"\n  and {len(extra) - LISTED} more" if len(extra) > LISTED else ""
        raise ValueError(
            f"{model_dir}: {len(extra)} tensors are not of the {config.architecture} that its "
            "config.json describes, and would be lost; take the files and the config.json of the "
            "same model:\n" + "\n".join(f"  {name}" for name in extra[:LISTED]) + more
        )
