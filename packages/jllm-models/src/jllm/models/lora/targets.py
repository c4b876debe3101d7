"""Resolving the module names given by users to tensors of the model, by the weight table.

A name is that of a module in the Hugging Face files, or its last parts (`q_proj`, `attn.c_proj`);
or one of the fused names of ROLES, which every family has; or `all-linear`.
"""

from collections.abc import Callable, Iterable, Sequence

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.units import unit_count, unit_kind
from jllm.models.weights.table import weight_table

ALL = "all-linear"
"""Name for every matrix of attention, MLPs and experts; not routers, embedding and head."""
ROLES = {
    "qkv_proj": ("qkv", "q_down", "q_up", "kv_down", "kv_up"),
    "o_proj": ("output",),
    "gate_up_proj": ("gate_up",),
    "down_proj": ("down",),
}
"""Fused names → modules of a unit with such matrices, whatever their names in the files."""
NOT_ADAPTED = ("router", "share")
"""Modules of a unit that are never adapted: routers and gates of shared experts."""


def adaptable(config: DecoderConfig) -> dict[str, str]:
    """Return the tensors that can have an adapter, each with the name of its module."""
    units = [u for u in range(unit_count(config)) if unit_kind(config, u) in ("attention", "mlp")]
    table = weight_table(config, range(units[0], units[-1] + 1))
    found = {}
    for piece in table:
        module, _, kind = piece.parameter.rpartition(".")
        role = module.rpartition(".")[2]
        if kind == "weight" and len(piece.shape) == 2 and role not in NOT_ADAPTED:
            found[piece.tensor] = module
    return found


def resolve(config: DecoderConfig, names: Sequence[str]) -> frozenset[str]:
    """Return the tensors that the names match.

    Raises ValueError where a name matches none, listing those that exist, and where only some
    matrices of a layer's experts are named.
    """
    known = adaptable(config)
    chosen: set[str] = set()
    for name in names:
        found = _matching(known, name)
        if not found:
            raise ValueError(
                f"no module {name!r} in {config.architecture} for an adapter; names "
                f"end in {', '.join(module_names(known))}; the fused {', '.join(ROLES)}; and {ALL}"
            )
        chosen |= found
    if not chosen:
        raise ValueError(f"an adapter of nothing: name modules, or {ALL}")
    _refuse_partial_experts(config, chosen, lambda holder: holder.rpartition(".")[0])
    return frozenset(chosen)


def _matching(known: dict[str, str], name: str) -> set[str]:
    """Return the tensors that one name matches."""
    if name == ALL:
        return set(known)
    if exact := {tensor for tensor in known if f".{tensor}".endswith(f".{name}.weight")}:
        return exact
    roles = ROLES.get(name, ())
    return {tensor for tensor, module in known.items() if module.rpartition(".")[2] in roles}


def module_names(tensors: Iterable[str]) -> list[str]:
    """Return the last parts of module names, in order of appearance."""
    modules = (tensor.removesuffix(".weight") for tensor in tensors)
    return list(dict.fromkeys(module.rpartition(".")[2] for module in modules))


def check_tensors(config: DecoderConfig, chosen: Iterable[str]) -> None:
    """Check that a stage can hold an adapter of the chosen tensors.

    Raises ValueError for tensors that are not adaptable, and for gate and up, or down, of only some
    of a layer's experts: in a stage all experts are rows of the same parameters.
    """
    known, chosen = adaptable(config), set(chosen)
    if strange := sorted(chosen - known.keys()):
        raise ValueError(
            f"an adapter of {_some(strange)}: routers, embedding, head and multi-token prediction "
            "are trained without one"
        )
    _refuse_partial_experts(config, chosen, lambda holder: holder)


def _refuse_partial_experts(
    config: DecoderConfig, chosen: set[str], group_of: Callable[[str], str]
) -> None:
    """Refuse to adapt only some of a group of matrices of routed experts; module → group."""
    groups: dict[str, list[str]] = {}
    for tensor, holder in adaptable(config).items():
        if f".{config.names.experts}." in tensor:
            groups.setdefault(group_of(holder), []).append(tensor)
    for tensors in groups.values():
        lacking = [tensor for tensor in tensors if tensor not in chosen]
        if 0 < len(lacking) < len(tensors):
            raise ValueError(
                f"an adapter of {len(tensors) - len(lacking)} matrices of a layer's experts needs "
                f"those of all {len(tensors)}, also {_some(lacking)}: Transformers and vLLM keep "
                "them together; name gate_up_proj and down_proj"
            )


def _some(names: Sequence[str], most: int = 4) -> str:
    """Format the first of some names and the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
