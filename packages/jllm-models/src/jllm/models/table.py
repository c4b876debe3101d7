"""The weight table: which slices of which Hugging Face tensors each local parameter holds.

Every family so far keeps its weights under Llama's names. Query, key and value are rows of one
parameter, gate and up of another: here they are only slices. The table is a pure function of
the configuration and costs microseconds a unit.
"""

from collections.abc import Iterable, Iterator

from jllm.models.config import DecoderConfig
from jllm.models.units import unit_count, unit_kind, unit_layer
from jllm.models.weights.slices import Slice, whole

EMBEDDING = "model.embed_tokens.weight"
FINAL_NORM = "model.norm.weight"
HEAD = "lm_head.weight"


def weight_table(
    config: DecoderConfig, units: range, *, for_saving: bool = False
) -> tuple[Slice, ...]:
    """Return the slices of the parameters of some units, named as in `Stage`.

    A tied head is a slice of the embedding's tensor, so both units load it. For saving it is left
    out: then the slices over all units hold every tensor of the model exactly once.
    """
    return tuple(
        piece for unit in units for piece in _unit_slices(config, unit, for_saving=for_saving)
    )


def _unit_slices(config: DecoderConfig, unit: int, *, for_saving: bool) -> Iterator[Slice]:
    """Give the slices of one unit."""
    here = f"units.{unit}"
    matrix = (config.vocab_size, config.hidden_size)
    match unit_kind(config, unit):
        case "embed":
            yield whole(f"{here}.weight", EMBEDDING, matrix)
        case "attention":
            yield from _attention(config, here, f"model.layers.{unit_layer(unit)}")
        case "mlp":
            yield from _mlp(config, here, f"model.layers.{unit_layer(unit)}")
        case _:
            assert unit == unit_count(config) - 1
            yield whole(f"{here}.norm.weight", FINAL_NORM, (config.hidden_size,))
            if not config.tie_word_embeddings:
                yield whole(f"{here}.weight", HEAD, matrix)
            elif not for_saving:
                yield whole(f"{here}.weight", EMBEDDING, matrix)


def _attention(config: DecoderConfig, here: str, layer: str) -> Iterator[Slice]:
    """Give the slices of an attention unit."""
    hidden, width = config.hidden_size, config.head_dim
    queries, keys = config.num_heads * width, config.num_kv_heads * width
    parts = (("q", queries), ("k", keys), ("v", keys))
    there = f"{layer}.self_attn"
    yield whole(f"{here}.norm.weight", f"{layer}.input_layernorm.weight", (hidden,))
    yield from _stacked(
        f"{here}.qkv.weight", ((f"{there}.{p}_proj.weight", (n, hidden)) for p, n in parts)
    )
    if config.qkv_bias:
        yield from _stacked(
            f"{here}.qkv.bias", ((f"{there}.{p}_proj.bias", (n,)) for p, n in parts)
        )
    if config.qk_norm:
        yield whole(f"{here}.q_norm.weight", f"{there}.q_norm.weight", (width,))
        yield whole(f"{here}.k_norm.weight", f"{there}.k_norm.weight", (width,))
    yield whole(f"{here}.output.weight", f"{there}.o_proj.weight", (hidden, queries))
    if config.output_bias:
        yield whole(f"{here}.output.bias", f"{there}.o_proj.bias", (hidden,))


def _mlp(config: DecoderConfig, here: str, layer: str) -> Iterator[Slice]:
    """Give the slices of an MLP unit."""
    hidden, inner = config.hidden_size, config.intermediate_size
    yield whole(f"{here}.norm.weight", f"{layer}.post_attention_layernorm.weight", (hidden,))
    yield from _stacked(
        f"{here}.gate_up.weight",
        ((f"{layer}.mlp.{part}_proj.weight", (inner, hidden)) for part in ("gate", "up")),
    )
    yield whole(f"{here}.down.weight", f"{layer}.mlp.down_proj.weight", (hidden, inner))


def _stacked(parameter: str, tensors: Iterable[tuple[str, tuple[int, ...]]]) -> Iterator[Slice]:
    """Give the slices of a parameter whose rows are those of several tensors, in order."""
    start = 0
    for tensor, shape in tensors:
        box = tuple((0, size) for size in shape)
        here = ((start, start + shape[0]), *box[1:])
        yield Slice(parameter=parameter, tensor=tensor, shape=shape, there=box, here=here)
        start += shape[0]
