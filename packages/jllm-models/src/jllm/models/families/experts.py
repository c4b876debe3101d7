"""The mixture of experts of a configuration: its sizes, and the layers that have one."""

from jllm.models.config.decoder_config import ExpertsConfig
from jllm.models.families.fields import Fields


def mixture(fields: Fields, *, shared: bool = False) -> ExpertsConfig:
    """Read the mixture of experts by the keys of the Qwen families.

    shared: whether there is a shared expert. Refuses more experts per token than there are.
    """
    experts = _experts(fields)
    chosen = fields.size("num_experts_per_tok")
    if chosen > experts:
        raise fields.error(f"num_experts_per_tok = {chosen} is more than num_experts = {experts}")
    return ExpertsConfig(
        layers=_layers(fields),
        num_experts=experts,
        experts_per_token=chosen,
        intermediate_size=fields.size("moe_intermediate_size"),
        renormalise=fields.flag("norm_topk_prob"),
        shared_intermediate_size=(fields.size("shared_expert_intermediate_size") if shared else 0),
        aux_loss_coef=_aux_loss_coef(fields),
    )


def _aux_loss_coef(fields: Fields) -> float:
    """Return the factor of the balance loss that Transformers adds, or 0."""
    factor = fields.number("router_aux_loss_coef", 0.001)
    return factor if fields.flag("output_router_logits") else 0.0


def _experts(fields: Fields) -> int:
    """Return the number of experts; for Qwen3, Transformers 5 writes it as `num_local_experts`."""
    names = ("num_experts", "num_local_experts")
    given = [name for name in names if fields.values.get(name) is not None]
    counts = {name: fields.size(name) for name in given or names[:1]}
    if len(set(counts.values())) > 1:
        raise fields.error(f"num_experts and num_local_experts differ: {counts}")
    return next(iter(counts.values()))


def _layers(fields: Fields) -> tuple[int, ...]:
    """Return every `decoder_sparse_step`-th layer that is not in `mlp_only_layers`."""
    step = fields.size("decoder_sparse_step", 1)
    dense = fields.values.get("mlp_only_layers") or []
    if not isinstance(dense, list) or any(type(layer) is not int for layer in dense):
        raise fields.error(f"mlp_only_layers must be a list of layer numbers, found {dense!r}")
    layers = range(step - 1, fields.size("num_hidden_layers"), step)
    return tuple(layer for layer in layers if layer not in dense)
