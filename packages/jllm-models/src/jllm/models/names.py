"""What the tensors of a model are called in its Hugging Face files."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Names:
    """Tensor names without `.weight` and `.bias`; the defaults are Llama's."""

    embedding: str = "model.embed_tokens"
    """The embedding."""
    layers: str = "model.layers"
    """What goes before the number of a layer; the names within a layer follow it."""
    attention_norm: str = "input_layernorm"
    """Norm of the attention unit."""
    qkv: tuple[str, ...] = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    """Query, key and value; a single name where they are rows of one tensor."""
    qkv_by_group: bool = False
    """One tensor's rows are, for each key/value head, its query heads, its key and its value."""
    q_norm: str = "self_attn.q_norm"
    """Norm of the queries."""
    k_norm: str = "self_attn.k_norm"
    """Norm of the keys."""
    output: str = "self_attn.o_proj"
    """Output projection of attention."""
    mlp_norm: str = "post_attention_layernorm"
    """Norm of the MLP unit."""
    gate: str = "mlp.gate_proj"
    """The projection that goes through silu."""
    up: str = "mlp.up_proj"
    """The projection that silu(gate) is multiplied with."""
    down: str = "mlp.down_proj"
    """Projection back to the hidden size."""
    router: str = "mlp.gate"
    """The matrix whose rows score the experts."""
    router_bias: str = "mlp.gate.e_score_correction_bias"
    """What is added to the experts' scores when they are chosen; the whole name."""
    experts: str = "mlp.experts"
    """What goes before the number of an expert; `expert_parts` follow it."""
    expert_parts: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")
    """Gate, up and down of an expert, shared or not."""
    shared_expert: str = "mlp.shared_expert"
    """What goes before `expert_parts` in the expert that every token goes to."""
    shared_gate: str = "mlp.shared_expert_gate"
    """The row whose product, through a sigmoid, weights the shared expert."""
    norm: str = "model.norm"
    """The last norm."""
    head: str = "lm_head"
    """The output matrix, unless it is tied."""
