"""The common part of DeepSeek-V2 and V3: latent attention, groups of experts, tensor names."""

from dataclasses import replace

from jllm.models.config.decoder_config import DecoderConfig, ExpertsConfig, PredictionConfig
from jllm.models.config.names import Names
from jllm.models.families.common import decoder
from jllm.models.families.fields import Fields
from jllm.models.families.latent import latent_attention

NAMES = Names(shared_expert="mlp.shared_experts")


def deepseek(
    fields: Fields,
    architecture: str,
    experts: ExpertsConfig,
    *,
    interleaved: bool,
    depth: int = 0,
) -> DecoderConfig:
    """Make the DecoderConfig.

    interleaved: rotated pairs are neighbours. depth: number of modules of multi-token prediction.
    """
    fields.require("use_mla", True, True)
    head_dim, latent = latent_attention(fields)
    bias = fields.flag("attention_bias")
    config = decoder(
        fields,
        architecture,
        own_head_dim=head_dim,
        max_position_embeddings=fields.size("max_position_embeddings"),
        qkv_bias=bias,
        output_bias=bias,
        latent=latent,
        experts=experts if experts.layers else None,
        prediction=PredictionConfig(depth=depth) if depth else None,
        names=NAMES,
    )
    assert config.rope is not None
    return replace(config, rope=replace(config.rope, interleaved=interleaved))


def experts_config(fields: Fields, *, grouped: bool, group_best: int) -> ExpertsConfig:
    """Read sizes, layers and groups of the experts; refuse numbers that do not fit.

    grouped: a token's experts are limited to `topk_group` of `n_group` groups.
    """
    fields.require("output_router_logits", False, False)
    count, chosen = fields.size("n_routed_experts"), fields.size("num_experts_per_tok")
    groups = fields.size("n_group", 1) if grouped else 1
    kept = fields.size("topk_group", 1) if grouped else 1
    best = group_best if groups > 1 else 1
    if count % groups or kept > groups or best > count // groups:
        raise fields.error(
            f"n_routed_experts = {count} do not fall into n_group = {groups} equal groups of at "
            f"least {best}, of which a token keeps topk_group = {kept}"
        )
    if chosen > count // groups * kept:
        raise fields.error(
            f"num_experts_per_tok = {chosen} is more than the {count // groups * kept} of "
            f"n_routed_experts = {count} in topk_group = {kept} of n_group = {groups} groups"
        )
    inner = fields.size("moe_intermediate_size")
    return ExpertsConfig(
        layers=_layers(fields),
        num_experts=count,
        experts_per_token=chosen,
        intermediate_size=inner,
        shared_intermediate_size=inner * fields.count("n_shared_experts", 0),
        shared_gate=False,
        groups=groups,
        groups_per_token=kept,
        group_best=best,
        scale=fields.number("routed_scaling_factor", 1.0),
        float32_router=True,
    )


def _layers(fields: Fields) -> tuple[int, ...]:
    """Return the multiples of `moe_layer_freq` from `first_k_dense_replace` on.

    The layers of multi-token prediction follow the last, by the same rule.
    """
    first, step = fields.count("first_k_dense_replace", 0), fields.size("moe_layer_freq", 1)
    behind = fields.count("num_nextn_predict_layers", 0)
    layers = range(first, fields.size("num_hidden_layers") + behind)
    return tuple(layer for layer in layers if layer % step == 0)
