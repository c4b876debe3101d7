"""The configuration of a decoder: exactly the values on which its mathematics depends.

A family file turns a Hugging Face `config.json` into these; no other module reads that file.
"""

from dataclasses import dataclass

from jllm.models.config.names import Names

ROPE_TYPES = ("default", "linear", "dynamic", "llama3", "yarn")
"""The rotary variants that `jllm.models.layers.rotary` computes."""

LOGITS_PER_CHUNK = 2**25
"""Default number of logits that the loss holds at once: 128 MiB of fp32."""


@dataclass(frozen=True, kw_only=True)
class RopeConfig:
    """Rotary position embedding: the base and the scaling of its frequencies."""

    type: str = "default"
    """One of ROPE_TYPES."""
    theta: float = 10_000.0
    """Base of the geometric series of wavelengths."""
    factor: float = 1.0
    """Factor by which contexts become longer; every type but `default`."""
    original_max_position_embeddings: int = 0
    """Context length, in tokens, of the model before scaling; `dynamic`, `llama3`, `yarn`."""
    low_freq_factor: float = 1.0
    """`llama3`: frequencies of wavelengths above original length / this are divided by `factor`."""
    high_freq_factor: float = 4.0
    """`llama3`: frequencies of wavelengths below original length / this are kept."""
    beta_fast: float = 32.0
    """`yarn`: dimensions with more rotations than this in the original length are kept."""
    beta_slow: float = 1.0
    """`yarn`: dimensions with fewer rotations than this are divided by `factor`."""
    truncate: bool = True
    """`yarn`: whether the bounds of the ramp are rounded to whole dimensions."""
    attention_scaling: float = 1.0
    """`yarn`: factor of cosine and sine."""
    in_powers_of_two: bool = False
    """`dynamic`: whether a document's length is rounded up to 2ⁿ times the original length."""
    interleaved: bool = False
    """Whether the two numbers of a rotated pair are neighbours, rather than half a head apart."""
    outside_training: bool = False
    """Whether frequencies are scaled only in evaluation mode, not in training mode."""


@dataclass(frozen=True, kw_only=True)
class LatentConfig:
    """Multi-head latent attention, in place of grouped-query attention."""

    rank: int
    """Width of the latent vector from which the keys and values of all heads are computed."""
    query_rank: int | None
    """Width of the latent vector of queries; None where the hidden state is projected directly."""
    rotary_dim: int
    """Width of the rotated end of each query head, and of the rotated key of all heads; even."""
    value_dim: int
    """Width of a head's value."""
    scale: float
    """Factor of the scores of queries and keys."""
    norm_eps: float
    """Epsilon that is added to the mean square in the norms of both latent vectors."""


@dataclass(frozen=True, kw_only=True)
class ExpertsConfig:
    """The mixture of experts, in place of the MLP of some layers."""

    layers: tuple[int, ...]
    """The layers that have one, including those of multi-token prediction, which follow the last;
    the others have an MLP of `intermediate_size`."""
    num_experts: int
    """Number of routed experts of a layer."""
    experts_per_token: int
    """Number of experts to which each token is routed."""
    intermediate_size: int
    """Width inside one expert."""
    renormalise: bool = False
    """Whether the weights of a token's experts are divided by their sum."""
    shared_intermediate_size: int = 0
    """Width inside the shared expert, which every token uses; 0 where there is none."""
    shared_gate: bool = True
    """Whether the shared expert's result is weighted by the sigmoid of another projection."""
    scoring: str = "softmax"
    """Function from router logits to scores: `softmax` over all experts or `sigmoid` of each."""
    router_bias: bool = False
    """Whether a bias is added to the scores when experts are chosen, but not when they are
    weighted. It is moved by the experts' load, not by gradients (arXiv:2408.15664)."""
    groups: int = 1
    """Number of equal groups of neighbouring experts."""
    groups_per_token: int = 1
    """Number of groups to whose experts a token may be routed: those with the largest scores."""
    group_best: int = 1
    """Number of largest scores in a group whose sum is the score of the group."""
    scale: float = 1.0
    """Final factor of the weights of a token's experts."""
    float32_router: bool = False
    """Whether the router computes in float32 whatever the dtype of the model."""
    aux_loss_coef: float = 0.0
    """Factor of the balance loss that the directory's configuration asks for; 0 where it asks for
    none."""


@dataclass(frozen=True, kw_only=True)
class PredictionConfig:
    """Multi-token prediction: modules after the last layer that predict further ahead."""

    depth: int
    """Number of modules; the n-th is named as the n-th layer after the last."""
    loss_weight: float = 0.0
    """Factor of the mean of their losses; at 0 they are kept, but neither computed nor trained."""


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
    """Epsilon that is added to the mean square in every RMS norm."""
    max_position_embeddings: int
    """Length, in tokens, of the longest document that the model supports."""
    rope: RopeConfig | None
    """Rotary position embedding; None where a bias on the scores replaces it (ALiBi)."""
    windows: tuple[int | None, ...] = ()
    """For each layer, the number of tokens that a query sees, itself included; None where it sees
    its document from the beginning. Empty means None in every layer."""
    log_n_length: int | None = None
    """In evaluation mode a query that sees n > this many tokens is multiplied by log n / log this;
    None switches that off."""
    qkv_bias: bool = False
    """Whether query, key and value projections have a bias."""
    output_bias: bool = False
    """Whether the output projection of attention has a bias."""
    qk_norm: bool = False
    """Whether queries and keys are RMS-normalised per head before rotation."""
    latent: LatentConfig | None = None
    """Multi-head latent attention in every layer; None where keys and values are projected."""
    experts: ExpertsConfig | None = None
    """The mixture of experts; None where every layer has an MLP."""
    prediction: PredictionConfig | None = None
    """The modules of multi-token prediction; None where there are none."""
    tie_word_embeddings: bool = False
    """Whether the head's matrix is the embedding."""
    normalised_head: bool = False
    """Whether each row of the head's matrix is divided by its L2 norm when it is used."""
    qk_norm_whole: bool = False
    """With `qk_norm`: whether all heads of a token are normalised as one vector instead."""
    norm_behind: bool = False
    """Whether the outputs of attention and MLP are RMS-normalised, rather than their inputs."""
    initializer_range: float = 0.02
    """Standard deviation of freshly initialised matrices."""
    dtype: str = "float32"
    """Dtype of the directory's weights, as a name of torch."""
    names: Names = Names()
    """Names of the tensors in the directory's files."""

    @property
    def rotary_dim(self) -> int:
        """Number of rotated elements of a query head."""
        return self.head_dim if self.latent is None else self.latent.rotary_dim

    def window(self, layer: int) -> int | None:
        """Return how many tokens a query of a layer sees; None means its document so far."""
        return self.windows[layer] if self.windows else None

    def mixture(self, layer: int) -> ExpertsConfig | None:
        """Return the mixture of experts of a layer; None where it has an MLP."""
        if self.experts is None or layer not in self.experts.layers:
            return None
        return self.experts


def loss_chunk(config: DecoderConfig) -> int:
    """Return how many tokens' logits fit into LOGITS_PER_CHUNK, at least one."""
    return max(LOGITS_PER_CHUNK // config.vocab_size, 1)
