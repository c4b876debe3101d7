"""The cost of a mixture of experts, by the convention of `jllm.models.costs.flops`."""

from jllm.models.config.decoder_config import DecoderConfig, ExpertsConfig


def idle_parameters(config: DecoderConfig, experts: ExpertsConfig | None) -> int:
    """Return the number of parameters in the experts of one layer that a token does not use."""
    if experts is None:
        return 0
    idle = experts.num_experts - experts.experts_per_token
    return idle * 3 * config.hidden_size * experts.intermediate_size


def mixture_flops(config: DecoderConfig, experts: ExpertsConfig) -> float:
    """Return the FLOPs of a forward pass per token: router, chosen experts, shared expert."""
    inner = experts.experts_per_token * experts.intermediate_size
    rows = experts.num_experts + 3 * (inner + experts.shared_intermediate_size)
    gate = experts.shared_intermediate_size > 0 and experts.shared_gate
    return 2 * config.hidden_size * (rows + gate)


def mixture_bytes(
    config: DecoderConfig, experts: ExpertsConfig, tokens: int, value_bytes: int
) -> float:
    """Return the bytes per token kept from forward to backward; tokens: of a micro-batch."""
    hidden, chosen = config.hidden_size, experts.experts_per_token
    kept = 2 * hidden * value_bytes + 4  # the norm's input and output, its fp32 scale
    kept += chosen * (2 * hidden + 3 * experts.intermediate_size) * value_bytes
    router_bytes = 4 if experts.float32_router else value_bytes
    kept += chosen * (8 + 8 + 8) + chosen * router_bytes  # numbers, order, places; weights
    if router_bytes > value_bytes:  # copies of the router's input and matrix
        kept += router_bytes * hidden * (1 + experts.num_experts / tokens)
    kept += 4 * experts.num_experts  # fp32 scores
    kept += 4 * experts.num_experts / tokens  # end of each expert's rows
    if experts.renormalise:
        kept += 4 * (chosen + 1)
    if experts.shared_intermediate_size:
        gated = (hidden + 1) * experts.shared_gate
        kept += (3 * experts.shared_intermediate_size + gated) * value_bytes
    return kept
