"""What a decoder is: the values that its mathematics depends on, and nothing else.

A family file turns a Hugging Face `config.json` into these; no module reads that file itself.
"""

from dataclasses import dataclass

from jllm.models.config.names import Names

ROPE_TYPES = ("default", "linear", "dynamic", "llama3", "yarn")
"""The rotary variants that `jllm.models.layers.rotary` computes."""

LOGITS_PER_CHUNK = 2**25
"""Logits that the loss holds at once unless told otherwise: 128 MiB of fp32."""


@dataclass(frozen=True, kw_only=True)
class RopeConfig:
    """Rotary position embedding: the base and the stretching of its frequencies."""

    type: str = "default"
    """One of ROPE_TYPES."""
    theta: float = 10_000.0
    """Base of the geometric series of wavelengths."""
    factor: float = 1.0
    """How many times longer contexts become; every type but `default`."""
    original_max_position_embeddings: int = 0
    """Context length, in tokens, that the unstretched model knew; `dynamic`, `llama3`, `yarn`."""
    low_freq_factor: float = 1.0
    """`llama3`: wavelengths above original length / this are divided by `factor`."""
    high_freq_factor: float = 4.0
    """`llama3`: wavelengths below original length / this are kept."""
    beta_fast: float = 32.0
    """`yarn`: dimensions that turn more often than this in the original length are kept."""
    beta_slow: float = 1.0
    """`yarn`: dimensions that turn less often than this are divided by `factor`."""
    truncate: bool = True
    """`yarn`: round the bounds of the ramp to whole dimensions."""
    attention_scaling: float = 1.0
    """`yarn`: what cosine and sine are multiplied with."""
    in_powers_of_two: bool = False
    """`dynamic`: a document counts as 2ⁿ times the original length, the least that holds it."""
    interleaved: bool = False
    """The two numbers that are turned together are neighbours, rather than half a head apart."""
    outside_training: bool = False
    """Frequencies are stretched in evaluation mode alone, and plain in training mode."""


@dataclass(frozen=True, kw_only=True)
class LatentConfig:
    """Multi-head latent attention, which takes the place of grouped-query attention."""

    rank: int
    """Width of the vector that the keys and values of all heads are made from."""
    query_rank: int | None
    """Width of the vector that queries are made from; None where it is the hidden state."""
    rotary_dim: int
    """The last so many numbers of a head's query are rotated, and one key of all heads; even."""
    value_dim: int
    """Width of a head's value."""
    scale: float
    """What the scores of queries and keys are multiplied with."""
    norm_eps: float
    """Added to the mean square in the norms of both vectors."""


@dataclass(frozen=True, kw_only=True)
class ExpertsConfig:
    """The mixture of experts that takes the MLP's place in some layers."""

    layers: tuple[int, ...]
    """The layers that have it, also those of multi-token prediction, which follow the last; the
    others have an MLP of `intermediate_size`."""
    num_experts: int
    """Experts of a layer."""
    experts_per_token: int
    """Experts that each token goes to."""
    intermediate_size: int
    """Width inside one expert."""
    renormalise: bool = False
    """The probabilities of a token's experts are divided by their sum."""
    shared_intermediate_size: int = 0
    """Width inside the expert that every token goes to; 0: there is none."""
    shared_gate: bool = True
    """The shared expert's result is weighted by a sigmoid of one more product."""
    scoring: str = "softmax"
    """What makes scores of the router's logits: `softmax` over all experts or `sigmoid` of each."""
    router_bias: bool = False
    """A number of each expert, moved by its load and not by gradients, is added to its score when
    experts are chosen, and not when they are weighted (arXiv:2408.15664)."""
    groups: int = 1
    """Neighbouring experts form so many equal groups."""
    groups_per_token: int = 1
    """Groups whose experts a token may go to, those of largest scores."""
    group_best: int = 1
    """The score of a group is the sum of so many of its largest."""
    scale: float = 1.0
    """What the weights of a token's experts are multiplied with in the end."""
    float32_router: bool = False
    """The router's product is computed in float32 whatever the dtype of the model."""
    aux_loss_coef: float = 0.0
    """Factor of the loss with which the directory asks to balance the experts; 0: it does not."""


@dataclass(frozen=True, kw_only=True)
class PredictionConfig:
    """Multi-token prediction: modules behind the last layer that look further ahead in training."""

    depth: int
    """Modules; the n-th is called as if it were the n-th layer behind the last."""
    loss_weight: float = 0.0
    """What the mean of their losses is multiplied with; 0: they are kept, but neither computed nor
    trained."""


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """A decoder-only transformer with RMS norms and SwiGLU."""

    architecture: str
    """Hugging Face class name, such as `LlamaForCausalLM`."""
    vocab_size: int
    """Rows of the embedding and of the head."""
    hidden_size: int
    """Width of the residual stream."""
    intermediate_size: int
    """Width inside the MLP."""
    num_layers: int
    """Decoder layers; each is two units, attention and MLP or mixture of experts."""
    num_heads: int
    """Query heads."""
    num_kv_heads: int
    """Key and value heads; divides `num_heads`."""
    head_dim: int
    """Width of one head; even."""
    norm_eps: float
    """Added to the mean square in every RMS norm."""
    max_position_embeddings: int
    """Longest document, in tokens, that the model was made for."""
    rope: RopeConfig | None
    """Rotary position embedding; None where distance lowers the scores instead (ALiBi)."""
    windows: tuple[int | None, ...] = ()
    """Of each layer, the tokens that a query sees, itself one of them; None where it sees its
    document from the beginning, as it does in every layer of an empty tuple."""
    log_n_length: int | None = None
    """In evaluation mode a query that sees n > this many tokens is multiplied with log n / log
    this; None where it never is."""
    qkv_bias: bool = False
    """Query, key and value projections have a bias."""
    output_bias: bool = False
    """The attention's output projection has a bias."""
    qk_norm: bool = False
    """Queries and keys are RMS-normalised per head before rotation."""
    latent: LatentConfig | None = None
    """Multi-head latent attention in every layer; None where keys and values are projected."""
    experts: ExpertsConfig | None = None
    """The mixture of experts; None where every layer has an MLP."""
    prediction: PredictionConfig | None = None
    """The modules of multi-token prediction; None where there are none."""
    tie_word_embeddings: bool = False
    """The head multiplies with the embedding."""
    normalised_head: bool = False
    """Each row of the head's matrix is divided by its length (L2) when it is used."""
    qk_norm_whole: bool = False
    """With `qk_norm`: all heads of a token are normalised as one vector instead."""
    norm_behind: bool = False
    """What attention and MLP give is RMS-normalised before it is added, rather than their input."""
    initializer_range: float = 0.02
    """Standard deviation of freshly initialised matrices."""
    dtype: str = "float32"
    """Element type in which the directory's weights are kept; a name of torch."""
    names: Names = Names()
    """What the tensors are called in the directory's files."""

    @property
    def rotary_dim(self) -> int:
        """Numbers of a query that are rotated."""
        return self.head_dim if self.latent is None else self.latent.rotary_dim

    def window(self, layer: int) -> int | None:
        """Return the tokens that a query of a layer sees; None: its document so far."""
        return self.windows[layer] if self.windows else None

    def mixture(self, layer: int) -> ExpertsConfig | None:
        """Return the mixture of experts of a layer; None: it has an MLP."""
        if self.experts is None or layer not in self.experts.layers:
            return None
        return self.experts


def loss_chunk(config: DecoderConfig) -> int:
    """Return the trained tokens whose logits fit LOGITS_PER_CHUNK, at least one."""
    return max(LOGITS_PER_CHUNK // config.vocab_size, 1)
