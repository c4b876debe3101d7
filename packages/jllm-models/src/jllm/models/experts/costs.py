"""What a mixture of experts costs, by the convention of `jllm.models.flops`."""

from jllm.models.config import DecoderConfig, ExpertsConfig


def idle_parameters(config: DecoderConfig, experts: ExpertsConfig | None) -> int:
    """Return the parameters of the experts of one layer that a token does not go to."""
    if experts is None:
        return 0
    idle = experts.num_experts - experts.experts_per_token
    return idle * 3 * config.hidden_size * experts.intermediate_size


def mixture_flops(config: DecoderConfig, experts: ExpertsConfig) -> float:
    """Return the operations of a forward pass per token: router, chosen experts, shared expert."""
    inner = experts.experts_per_token * experts.intermediate_size
    rows = experts.num_experts + 3 * (inner + experts.shared_intermediate_size)
    return 2 * config.hidden_size * (rows + (experts.shared_intermediate_size > 0))


def mixture_bytes(
    config: DecoderConfig, experts: ExpertsConfig, tokens: int, value_bytes: int
) -> float:
    """Return the bytes per token kept from forward to backward; tokens: of a micro-batch."""
    hidden, chosen = config.hidden_size, experts.experts_per_token
    kept = 2 * hidden * value_bytes + 4  # the norm's input and output, its fp32 scale
    kept += chosen * (2 * hidden + 3 * experts.intermediate_size) * value_bytes
    kept += chosen * (8 + 8 + 8) + chosen * value_bytes  # numbers, order, places; weights
    kept += 4 * experts.num_experts  # fp32 probabilities
    kept += 4 * experts.num_experts / tokens  # where the rows of each expert end
    if experts.renormalise:
        kept += 4 * (chosen + 1)
    if experts.shared_intermediate_size:
        kept += (3 * experts.shared_intermediate_size + hidden + 1) * value_bytes
    return kept
