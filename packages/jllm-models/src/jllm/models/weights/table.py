"""The weight table: which slices of which Hugging Face tensors each local parameter holds.

Query, key and value are rows of one parameter, gate and up of another, and all experts of a layer
share one too, however the files store them: here they are only slices. The table is a pure function
of the configuration and takes microseconds per tensor.
"""

from collections.abc import Iterable, Iterator, Sequence

from jllm.models.config.decoder_config import DecoderConfig, ExpertsConfig, LatentConfig
from jllm.models.config.units import tied_parameters, unit_count, unit_kind, unit_layer
from jllm.models.weights.slices import Slice, whole

ROUTER_BIAS = "router_bias"
"""Last part of the name of the buffer of a mixture of experts."""


def weight_table(
    config: DecoderConfig, units: range, *, for_saving: bool = False
) -> tuple[Slice, ...]:
    """Return the slices of the parameters of some units, named as in `Stage`.

    A tied head is a slice of the embedding's tensor, so both units load it. With `for_saving` it is
    omitted, and the slices of all units hold every tensor of the model exactly once.
    """
    return tuple(
        piece for unit in units for piece in _unit_slices(config, unit, for_saving=for_saving)
    )


def is_buffer(piece: Slice) -> bool:
    """Return whether a slice is of a buffer, which is always float32 and gets no gradients."""
    return piece.parameter.endswith(f".{ROUTER_BIAS}")


def _unit_slices(config: DecoderConfig, unit: int, *, for_saving: bool) -> Iterator[Slice]:
    """Yield the slices of one unit."""
    here, names = f"units.{unit}", config.names
    matrix = (config.vocab_size, config.hidden_size)
    match unit_kind(config, unit):
        case "embed":
            yield whole(f"{here}.weight", f"{names.embedding}.weight", matrix)
        case "attention":
            yield from _attention_unit(config, here, unit_layer(unit))
        case "mlp":
            yield from _mlp_unit(config, here, unit_layer(unit))
        case _:
            assert unit == unit_count(config) - 1
            yield whole(f"{here}.norm.weight", f"{names.norm}.weight", (config.hidden_size,))
            if not config.tie_word_embeddings:
                yield whole(f"{here}.weight", f"{names.head}.weight", matrix)
            elif not for_saving:
                yield whole(f"{here}.weight", f"{names.embedding}.weight", matrix)
            if prediction := config.prediction:
                for index in range(prediction.depth):
                    yield from _predictor(config, f"{here}.prediction.layers.{index}", index)
                tied = tied_parameters(config)
                if tied and tied[1] == f"{here}.prediction.embedding" and not for_saving:
                    yield whole(tied[1], f"{names.embedding}.weight", matrix)


def copied_slices(config: DecoderConfig, units: range) -> tuple[Slice, ...]:
    """Return the slices of some units that files hold in addition to the table for saving.

    For each module of multi-token prediction the files hold another copy of the model's embedding
    and head. The copies are written but never read.
    """
    depth, names = config.prediction.depth if config.prediction else 0, config.names
    matrix, head = (config.vocab_size, config.hidden_size), unit_count(config) - 1
    holders = (0, 0 if config.tie_word_embeddings else head)
    return tuple(
        whole(f"units.{unit}.weight", f"{names.layers}.{layer}.{name}.weight", matrix)
        for layer in range(config.num_layers, config.num_layers + depth)
        for unit, name in zip(holders, names.prediction_copies, strict=True)
        if unit in units
    )


def untrained_tensors(config: DecoderConfig) -> frozenset[str]:
    """Return the tensors, other than buffers, that are not trained on their own.

    They are the copies and, where its loss weight is 0, the modules of multi-token prediction.
    """
    units, prediction = range(unit_count(config)), config.prediction
    frozen = units[-1:] if prediction and not prediction.loss_weight else range(0)
    held = (piece for piece in weight_table(config, frozen) if ".prediction." in piece.parameter)
    return frozenset(piece.tensor for piece in (*copied_slices(config, units), *held))


def _predictor(config: DecoderConfig, here: str, index: int) -> Iterator[Slice]:
    """Yield the slices of a module of multi-token prediction."""
    hidden, names, layer = config.hidden_size, config.names, config.num_layers + index
    there = f"{names.layers}.{layer}"
    for part, name in (
        ("token_norm", names.token_norm),
        ("hidden_norm", names.hidden_norm),
        ("norm", names.prediction_norm),
    ):
        yield whole(f"{here}.{part}.weight", f"{there}.{name}.weight", (hidden,))
    yield whole(f"{here}.join.weight", f"{there}.{names.join}.weight", (hidden, 2 * hidden))
    yield from _attention_unit(config, f"{here}.attention", layer)
    yield from _mlp_unit(config, f"{here}.mlp", layer)


def _attention_unit(config: DecoderConfig, here: str, layer: int) -> Iterator[Slice]:
    """Yield the slices of a layer's attention."""
    there = f"{config.names.layers}.{layer}"
    if config.latent:
        yield from _latent(config, config.latent, here, there)
    else:
        yield from _attention(config, here, there)


def _mlp_unit(config: DecoderConfig, here: str, layer: int) -> Iterator[Slice]:
    """Yield the slices of the MLP or the mixture of experts of a layer."""
    there, experts = f"{config.names.layers}.{layer}", config.mixture(layer)
    if experts:
        yield from _mixture(config, experts, here, there)
    else:
        yield from _mlp(config, here, there)


def _attention(config: DecoderConfig, here: str, layer: str) -> Iterator[Slice]:
    """Yield the slices of an attention unit."""
    hidden, width, names = config.hidden_size, config.head_dim, config.names
    yield whole(f"{here}.norm.weight", f"{layer}.{names.attention_norm}.weight", (hidden,))
    yield from _qkv(config, f"{here}.qkv", layer, "weight", (hidden,))
    if config.qkv_bias:
        yield from _qkv(config, f"{here}.qkv", layer, "bias", ())
    if config.qk_norm:
        for norm, name, heads in (
            ("q_norm", names.q_norm, config.num_heads),
            ("k_norm", names.k_norm, config.num_kv_heads),
        ):
            size = heads * width if config.qk_norm_whole else width
            yield whole(f"{here}.{norm}.weight", f"{layer}.{name}.weight", (size,))
    output = (hidden, config.num_heads * width)
    yield whole(f"{here}.output.weight", f"{layer}.{names.output}.weight", output)
    if config.output_bias:
        yield whole(f"{here}.output.bias", f"{layer}.{names.output}.bias", (hidden,))


def _latent(config: DecoderConfig, latent: LatentConfig, here: str, layer: str) -> Iterator[Slice]:
    """Yield the slices of a multi-head latent attention unit."""
    hidden, heads, names = config.hidden_size, config.num_heads, config.names
    width = config.head_dim - latent.rotary_dim + latent.value_dim
    queries, source = heads * config.head_dim, latent.query_rank
    matrices = [("kv_down", names.kv_down, (latent.rank + latent.rotary_dim, hidden))]
    matrices += [("kv_up", names.kv_up, (heads * width, latent.rank))]
    matrices += [("output", names.output, (hidden, heads * latent.value_dim))]
    norms = [("norm", names.attention_norm, hidden), ("kv_norm", names.kv_down_norm, latent.rank)]
    if source is None:
        matrices += [("q_up", names.qkv[0], (queries, hidden))]
    else:
        matrices += [("q_down", names.q_down, (source, hidden))]
        matrices += [("q_up", names.q_up, (queries, source))]
        norms += [("q_norm", names.q_down_norm, source)]
    for part, name, size in norms:
        yield whole(f"{here}.{part}.weight", f"{layer}.{name}.weight", (size,))
    for part, name, shape in matrices:
        yield whole(f"{here}.{part}.weight", f"{layer}.{name}.weight", shape)
        if config.output_bias if part == "output" else config.qkv_bias and part.endswith("down"):
            yield whole(f"{here}.{part}.bias", f"{layer}.{name}.bias", shape[:1])


def _qkv(
    config: DecoderConfig, here: str, layer: str, kind: str, columns: tuple[int, ...]
) -> Iterator[Slice]:
    """Yield the slices of the fused projection's weight or bias, in the order of `here`."""
    names, width = config.names, config.head_dim
    queries, keys = config.num_heads * width, config.num_kv_heads * width
    parameter = f"{here}.{kind}"
    tensors = [f"{layer}.{name}.{kind}" for name in names.qkv]
    if names.qkv_by_group:
        yield from _grouped(config, parameter, tensors[0], (queries + 2 * keys, *columns))
    elif len(tensors) == 1:
        yield whole(parameter, tensors[0], (queries + 2 * keys, *columns))
    else:
        shapes = ((rows, *columns) for rows in (queries, keys, keys))
        yield from _stacked(parameter, zip(tensors, shapes, strict=True))


def _grouped(
    config: DecoderConfig, parameter: str, tensor: str, shape: tuple[int, ...]
) -> Iterator[Slice]:
    """Yield the slices of a tensor whose rows are queries, a key and a value, group by group."""
    groups, width = config.num_kv_heads, config.head_dim
    queries = config.num_heads // groups * width
    columns = tuple((0, size) for size in shape[1:])
    start = 0
    for offset, rows in ((0, queries), (queries, width), (queries + width, width)):
        for group in range(groups):
            first = group * (queries + 2 * width) + offset
            yield Slice(
                parameter=parameter,
                tensor=tensor,
                shape=shape,
                there=((first, first + rows), *columns),
                here=((start, start + rows), *columns),
            )
            start += rows


def _mlp(config: DecoderConfig, here: str, layer: str) -> Iterator[Slice]:
    """Yield the slices of an MLP unit."""
    hidden, inner, names = config.hidden_size, config.intermediate_size, config.names
    yield whole(f"{here}.norm.weight", f"{layer}.{names.mlp_norm}.weight", (hidden,))
    parts = tuple(f"{layer}.{name}.weight" for name in (names.gate, names.up, names.down))
    yield from _swiglu(here, (parts,), hidden, inner)


def _mixture(
    config: DecoderConfig, experts: ExpertsConfig, here: str, layer: str
) -> Iterator[Slice]:
    """Yield the slices of a mixture of experts: all experts are rows of the same two parameters."""
    hidden, names = config.hidden_size, config.names
    yield whole(f"{here}.norm.weight", f"{layer}.{names.mlp_norm}.weight", (hidden,))
    router = (experts.num_experts, hidden)
    yield whole(f"{here}.router.weight", f"{layer}.{names.router}.weight", router)
    if experts.router_bias:
        yield whole(f"{here}.{ROUTER_BIAS}", f"{layer}.{names.router_bias}", router[:1])
    every = [
        tuple(f"{layer}.{names.experts}.{number}.{part}.weight" for part in names.expert_parts)
        for number in range(experts.num_experts)
    ]
    yield from _swiglu(f"{here}.experts", every, hidden, experts.intermediate_size)
    if experts.shared_intermediate_size:
        shared, inner = f"{layer}.{names.shared_expert}", experts.shared_intermediate_size
        parts = tuple(f"{shared}.{part}.weight" for part in names.expert_parts)
        yield from _swiglu(f"{here}.shared", (parts,), hidden, inner)
        if experts.shared_gate:
            gate = f"{layer}.{names.shared_gate}.weight"
            yield whole(f"{here}.shared.share.weight", gate, (1, hidden))


def _swiglu(
    here: str, tensors: Sequence[tuple[str, ...]], hidden: int, inner: int
) -> Iterator[Slice]:
    """Yield the slices of fused gate and up, and of down; `tensors` names these three of each."""
    gates_ups = ((name, (inner, hidden)) for parts in tensors for name in parts[:2])
    yield from _stacked(f"{here}.gate_up.weight", gates_ups)
    yield from _stacked(f"{here}.down.weight", ((parts[2], (hidden, inner)) for parts in tensors))


def _stacked(parameter: str, tensors: Iterable[tuple[str, tuple[int, ...]]]) -> Iterator[Slice]:
    """Yield the slices of a parameter whose rows are those of several tensors, in order."""
    start = 0
    for tensor, shape in tensors:
        box = tuple((0, size) for size in shape)
        here = ((start, start + shape[0]), *box[1:])
        yield Slice(parameter=parameter, tensor=tensor, shape=shape, there=box, here=here)
        start += shape[0]
