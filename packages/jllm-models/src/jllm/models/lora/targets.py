"""From module names that people give to the tensors of the model: found in the weight table.

A name is that of a module in the Hugging Face files, or its last parts (`q_proj`, `attn.c_proj`);
or one of the fused names of ROLES, which every family has; or `all-linear`.
"""

from collections.abc import Callable, Iterable, Sequence

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.units import unit_count, unit_kind
from jllm.models.weights.table import weight_table

ALL = "all-linear"
"""Every matrix of attention, MLPs and experts; not routers, embedding and head."""
ROLES = {
    "qkv_proj": ("qkv", "q_down", "q_up", "kv_down", "kv_up"),
    "o_proj": ("output",),
    "gate_up_proj": ("gate_up",),
    "down_proj": ("down",),
}
"""Fused names → modules of a unit that hold such matrices, whatever the files call them."""
NOT_ADAPTED = ("router", "share")
"""Modules of a unit that decide rather than transform."""


def adaptable(config: DecoderConfig) -> dict[str, str]:
    """Return the tensors that can have an adapter, each with the module that holds it."""
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
    """Return the tensors that the names stand for.

    Raises ValueError for a name that matches none, listing those there are, and for experts of
    which a part alone is named.
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
    """Return the tensors that one name stands for."""
    if name == ALL:
        return set(known)
    if exact := {tensor for tensor in known if f".{tensor}".endswith(f".{name}.weight")}:
        return exact
    roles = ROLES.get(name, ())
    return {tensor for tensor, module in known.items() if module.rpartition(".")[2] in roles}


def module_names(tensors: Iterable[str]) -> list[str]:
    """Return the last parts of the modules' names, in order of appearance."""
    modules = (tensor.removesuffix(".weight") for tensor in tensors)
    return list(dict.fromkeys(module.rpartition(".")[2] for module in modules))


def check_tensors(config: DecoderConfig, chosen: Iterable[str]) -> None:
    """Refuse (ValueError) tensors of which a stage can hold no adapter.

    Those are all but the adaptable ones, and gate and up, or down, of some of a layer's experts:
    in a stage all experts are rows of the same parameters.
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
    """Refuse to adapt some matrices of routed experts and not all of the group; holder → group."""
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
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
