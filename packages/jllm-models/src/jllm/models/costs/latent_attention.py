"""The cost of multi-head latent attention, by the convention of `jllm.models.costs.flops`.

Counted as in training, which computes the keys and values of every head from the latent vectors.
"""

from jllm.models.config.decoder_config import DecoderConfig, LatentConfig


def latent_flops(config: DecoderConfig, latent: LatentConfig, seen: float) -> float:
    """Return the FLOPs of a forward pass per token, whose query sees `seen` tokens."""
    hidden, heads, source = config.hidden_size, config.num_heads, latent.query_rank
    queries, values = heads * config.head_dim, heads * latent.value_dim
    plain = heads * (config.head_dim - latent.rotary_dim)
    matrices = hidden * (latent.rank + latent.rotary_dim) + latent.rank * (plain + values)
    matrices += hidden * queries if source is None else source * (hidden + queries)
    matrices += values * hidden
    return 2 * matrices + 2 * (queries + values) * seen


def latent_bytes(config: DecoderConfig, latent: LatentConfig, value_bytes: int) -> float:
    """Return the bytes per token kept from forward to backward, with the `sdpa` back end."""
    hidden, heads, source = config.hidden_size, config.num_heads, latent.query_rank
    queries, values = heads * config.head_dim, heads * latent.value_dim
    plain = heads * (config.head_dim - latent.rotary_dim)
    numbers = 2 * hidden + 2 * latent.rank + latent.rotary_dim + 2 * (source or 0)
    if values < queries:  # values and results padded to a head's width, and the results cut again
        numbers += 4 * queries + values
    else:
        numbers += 2 * queries + plain + 3 * values
    norms = 2 if source is None else 3
    return numbers * value_bytes + 4 * (norms + heads)  # fp32 scales of norms and of each softmax


def cache_numbers(config: DecoderConfig) -> int:
    """Return how many elements a cache keeps per token in one layer."""
    if config.latent is None:
        return 2 * config.num_kv_heads * config.head_dim
    return config.latent.rank + config.latent.rotary_dim
