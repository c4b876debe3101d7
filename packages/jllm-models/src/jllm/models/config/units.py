"""Units: the pieces of a model; a pipeline stage is a contiguous run of them.

    0        1                   2              …  2·layers+1
    embed    layers.0.attention  layers.0.mlp   …  head

The head is the last norm, the output matrix, the loss and the modules of multi-token prediction.
Parameters are named `units.<index>.…` with the global index of the unit, so names do not depend on
how a model is divided.
"""

from jllm.models.config.decoder_config import DecoderConfig

_LAYER_KINDS = ("attention", "mlp")


def unit_count(config: DecoderConfig) -> int:
    """Return the number of units: two per layer, the embedding and the head."""
    return 2 * config.num_layers + 2


def unit_names(config: DecoderConfig) -> tuple[str, ...]:
    """Return the name of every unit, in order."""
    layers = (
        f"layers.{layer}.{kind}" for layer in range(config.num_layers) for kind in _LAYER_KINDS
    )
    return ("embed", *layers, "head")


def unit_kind(config: DecoderConfig, unit: int) -> str:
    """Return "embed", "attention", "mlp" or "head"."""
    assert 0 <= unit < unit_count(config), unit
    if unit == 0:
        return "embed"
    return "head" if unit == unit_count(config) - 1 else _LAYER_KINDS[(unit - 1) % 2]


def unit_layer(unit: int) -> int:
    """Return the decoder layer that an attention or MLP unit belongs to."""
    return (unit - 1) // 2


def tied_parameters(config: DecoderConfig) -> tuple[str, str] | None:
    """Return the names of the two parameters that are tied, whatever is held; None without any.

    The first is the embedding. The second is the head's matrix where it is tied, otherwise the
    embedding of the modules of multi-token prediction.
    """
    head = f"units.{unit_count(config) - 1}"
    if config.tie_word_embeddings:
        return "units.0.weight", f"{head}.weight"
    if config.prediction and config.prediction.loss_weight:
        return "units.0.weight", f"{head}.prediction.embedding"
    return None
