"""The cost of a unit: parameters, floating-point operations, bytes.

The convention, stated wherever a utilisation (MFU) is printed: a multiplication with its addition
is two operations. The backward pass costs twice the forward. Recomputation, norms, rotation,
softmax and the look-up in the embedding do not count. A matrix of n parameters thus costs 6n per
token (arXiv:2001.08361; the head counts, the embedding does not). Attention to s tokens adds
12·N·K·s per layer (N query heads of width K; 6·N·(K + V)·s where values have another width V), as
in PaLM's MFU (arXiv:2204.02311, appendix B). The causal half of that, 6·N·K·s, is actually
computed, and is the default here. With a sliding window of w < s tokens, s/2 becomes w − w²/2s, the
mean number of visible tokens. Of a mixture of experts, only the experts of a token count.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from jllm.models.config.decoder_config import DecoderConfig, loss_chunk
from jllm.models.config.units import tied_parameters, unit_count, unit_kind, unit_layer, unit_names
from jllm.models.costs.experts import idle_parameters, mixture_bytes, mixture_flops
from jllm.models.costs.latent_attention import latent_bytes, latent_flops
from jllm.models.weights.table import weight_table


@dataclass(frozen=True, kw_only=True)
class UnitCost:
    """The cost of one unit."""

    name: str
    """Name of the unit."""
    parameters: int
    """Number of trained parameters; a tied head counts its matrix again, since it holds it too."""
    active_parameters: int
    """Parameters used for a token: all but those of experts to which it is not routed."""
    forward_flops: float
    """FLOPs of the forward pass per token."""
    activation_bytes: float
    """Bytes per token kept from forward to backward, without the masks of windows and biases; for
    the head, its peak while it runs."""
    recomputed_bytes: float
    """The same where the unit is recomputed: its input alone."""


def unit_costs(
    config: DecoderConfig,
    tokens: int,
    mean_document_length: float,
    *,
    value_bytes: int = 4,
    causal: bool = True,
) -> tuple[UnitCost, ...]:
    """Return the cost of every unit.

    tokens: tokens of a micro-batch, over which the fixed memory of the head is spread.
    mean_document_length: Σ length² / Σ length, the mean over tokens of their document's length.
    value_bytes: bytes of an activation element. causal: count the causal half of attention.
    """
    parameters = _parameters(config)
    costs = []
    for unit, name in enumerate(unit_names(config)):
        kind, layer = unit_kind(config, unit), unit_layer(unit)
        work = _Work(tokens, mean_document_length, value_bytes, causal)
        flops, kept = _unit_work(config, kind, layer, work)
        idle = idle_parameters(config, config.mixture(layer)) if kind == "mlp" else 0
        recomputed = config.hidden_size * value_bytes if kind in ("attention", "mlp") else kept
        if kind == "head" and (depth := trained_predictions(config)):
            flops += depth * flops
            recomputed += depth * prediction_bytes(config, tokens, value_bytes)
            kept = recomputed + depth * (3 * config.hidden_size * value_bytes + 3 * 4)  # its norms
            for further in range(config.num_layers, config.num_layers + depth):
                flops += 4 * config.hidden_size**2
                for part in ("attention", "mlp"):
                    more, inside = _unit_work(config, part, further, work)
                    flops, kept = flops + more, kept + inside
        if kind == "head":
            idle += _idle_behind(config)
        costs.append(
            UnitCost(
                name=name,
                parameters=parameters[unit],
                active_parameters=parameters[unit] - idle,
                forward_flops=flops,
                activation_bytes=kept,
                recomputed_bytes=recomputed,
            )
        )
    return tuple(costs)


class _Work(NamedTuple):
    """Arguments of `unit_costs`."""

    tokens: int
    length: float
    value_bytes: int
    causal: bool


def _unit_work(config: DecoderConfig, kind: str, layer: int, work: _Work) -> tuple[float, float]:
    """Return a unit's FLOPs of a forward pass and the bytes it keeps, per token."""
    if kind == "mlp" and (experts := config.mixture(layer)):
        return mixture_flops(config, experts), mixture_bytes(
            config, experts, work.tokens, work.value_bytes
        )
    window = config.window(layer) if kind == "attention" else None
    seen = tokens_seen(work.length, window) * (1 if work.causal else 2)
    kept = _activation_bytes(config, kind, work.tokens, work.value_bytes)
    return _forward_flops(config, kind, seen), kept


def trained_predictions(config: DecoderConfig) -> int:
    """Return the number of modules of multi-token prediction that are computed."""
    prediction = config.prediction
    return prediction.depth if prediction and prediction.loss_weight else 0


def _idle_behind(config: DecoderConfig) -> int:
    """Return the number of parameters of multi-token prediction that a token does not use."""
    depth = config.prediction.depth if config.prediction else 0
    if depth and not trained_predictions(config):
        return _parameters(config)[-1] - _parameters(replace(config, prediction=None))[-1]
    layers = range(config.num_layers, config.num_layers + depth)
    return sum(idle_parameters(config, config.mixture(layer)) for layer in layers)


def prediction_bytes(config: DecoderConfig, tokens: int, value_bytes: int) -> float:
    """Return the bytes per token that a recomputed module of multi-token prediction keeps.

    They are its two inputs, the tokens of the look-up, and the gradients computed by the loss.
    """
    hidden, matrix = config.hidden_size, config.vocab_size * config.hidden_size
    return 3 * hidden * value_bytes + 8 + 4 * matrix / tokens


def flops_per_token(
    config: DecoderConfig, mean_document_length: float, *, causal: bool = True
) -> float:
    """Return the FLOPs of forward and backward per token, by the convention above.

    causal=False counts the whole square of attention, as Megatron-LM and PaLM do; with a sliding
    window it counts twice the causal number.
    """
    costs = unit_costs(config, 1, mean_document_length, causal=causal)
    return 3 * sum(cost.forward_flops for cost in costs)


def weight_gradient_flops(config: DecoderConfig) -> float:
    """Return the FLOPs per token of the gradients of all matrices, a third of the matrices' total.

    A frozen model does not compute them.
    """
    return flops_per_token(config, 0) / 3


def parameter_count(config: DecoderConfig) -> int:
    """Return the number of parameters in the model's files; a tied matrix counts once."""
    tied = config.vocab_size * config.hidden_size * (tied_parameters(config) is not None)
    return sum(_parameters(config)) - tied


def active_parameter_count(config: DecoderConfig) -> int:
    """Return the number of parameters in the model's files that are used for a token."""
    mixtures = map(config.mixture, range(config.num_layers))
    idle = sum(idle_parameters(config, each) for each in mixtures) + _idle_behind(config)
    return parameter_count(config) - idle


@lru_cache(maxsize=4)  # with many experts it takes tenths of a second; MFU needs it every step
def _parameters(config: DecoderConfig) -> tuple[int, ...]:
    """Return the number of parameters held by each unit."""
    return tuple(
        sum(math.prod(piece.extents) for piece in weight_table(config, range(unit, unit + 1)))
        for unit in range(unit_count(config))
    )


def tokens_seen(length: float, window: int | None) -> float:
    """Return the mean number of tokens that a query sees, from the area of a triangle or a band."""
    if window is None or length <= window:
        return length / 2
    return window - window**2 / (2 * length)


def _forward_flops(config: DecoderConfig, kind: str, seen: float) -> float:
    """Return the FLOPs of one unit's forward pass per token, whose query sees `seen` tokens."""
    hidden, queries = config.hidden_size, config.num_heads * config.head_dim
    keys = config.num_kv_heads * config.head_dim
    match kind:
        case "embed":
            return 0
        case "attention" if latent := config.latent:
            return latent_flops(config, latent, seen)
        case "attention":
            matrices = 2 * hidden * (queries + 2 * keys) + 2 * queries * hidden
            return matrices + 4 * queries * seen
        case "mlp":
            return 6 * hidden * config.intermediate_size
    return 2 * hidden * config.vocab_size


def _activation_bytes(config: DecoderConfig, kind: str, tokens: int, value_bytes: int) -> float:
    """Return the bytes per token that one unit keeps, with the `sdpa` back end."""
    hidden, queries = config.hidden_size, config.num_heads * config.head_dim
    keys = config.num_kv_heads * config.head_dim
    normed = 2 * hidden * value_bytes + 4  # a norm's input and output, its fp32 scale
    groups = 2 if config.qk_norm_whole else config.num_heads + config.num_kv_heads
    qk_norms = groups if config.qk_norm else 0
    match kind:
        case "embed":
            return 8
        case "attention" if latent := config.latent:
            return latent_bytes(config, latent, value_bytes)
        case "attention":
            projected = queries + 2 * keys
            rotated = queries + keys
            mixed = 2 * queries  # results by document, and concatenated
            scales = 4 * (qk_norms + config.num_heads)  # of the norms and of each softmax
            return normed + (projected + rotated + mixed) * value_bytes + scales
        case "mlp":
            return normed + 3 * config.intermediate_size * value_bytes
    gradient = 4 * config.vocab_size * config.hidden_size
    logits = 4 * config.vocab_size * min(loss_chunk(config), tokens)
    rows = config.vocab_size * (config.hidden_size * value_bytes + 4)
    divided = rows if config.normalised_head else 0
    return normed + hidden * value_bytes + 8 + (gradient + logits + divided) / tokens
