"""The sliding windows of a configuration: how many tokens each layer sees, as in Transformers."""

from collections.abc import Callable

from jllm.models.families.fields import Fields

KINDS = ("full_attention", "sliding_attention")
"""Values of `layer_types`."""


def same_window(fields: Fields, default: int) -> tuple[int | None, ...]:
    """Return the windows where `sliding_window` applies to every layer; null switches it off."""
    window = _window(fields, default)
    kinds = _layer_types(fields)
    expected = KINDS[window is not None]
    if kinds and set(kinds) != {expected}:
        raise fields.error(
            f"layer_types must hold {expected} alone where sliding_window = {window}, found {kinds}"
        )
    return _windows(fields, window, lambda layer: True)


def late_windows(fields: Fields) -> tuple[int | None, ...]:
    """Return the windows that `use_sliding_window` switches on.

    The layers are those marked in `layer_types`, or those from `max_window_layers` on.
    """
    first = fields.number("max_window_layers", 28)
    return _switched_windows(fields, lambda layer: layer >= first)


def early_windows(fields: Fields) -> tuple[int | None, ...]:
    """Return the windows that `use_sliding_window` switches on.

    The layers are those marked in `layer_types`, or every second of the first `max_window_layers`,
    beginning with layer 0.
    """
    end = fields.number("max_window_layers", 28)
    return _switched_windows(fields, lambda layer: layer < end and layer % 2 == 0)


def _switched_windows(fields: Fields, slides: Callable[[int], bool]) -> tuple[int | None, ...]:
    """Return the windows in the layers marked in `layer_types` or, without it, by `slides`."""
    window = _window(fields, 4096) if fields.flag("use_sliding_window") else None
    kinds = _layer_types(fields)
    if not kinds:
        return _windows(fields, window, slides)
    windows = tuple(window if kind == "sliding_attention" else None for kind in kinds)
    if window is None and "sliding_attention" in kinds:
        raise fields.error(
            "layer_types holds sliding_attention, but use_sliding_window and sliding_window "
            "switch it off"
        )
    return windows if any(windows) else ()


def _windows(
    fields: Fields, window: int | None, slides: Callable[[int], bool]
) -> tuple[int | None, ...]:
    """Return the window for every layer that slides, None for others; () where none has one."""
    layers = range(fields.size("num_hidden_layers"))
    windows = tuple(window if slides(layer) else None for layer in layers)
    return windows if any(windows) else ()


def _window(fields: Fields, default: int) -> int | None:
    """Return the window in tokens: None for null, the default for an absent key."""
    if fields.values.get("sliding_window", default) is None:
        return None
    return fields.size("sliding_window", default)


def _layer_types(fields: Fields) -> list[str]:
    """Return the kind of every layer, or an empty list where the configuration has none."""
    kinds = fields.values.get("layer_types") or []
    if not isinstance(kinds, list) or any(kind not in KINDS for kind in kinds):
        raise fields.error(f"layer_types must be a list of {' and '.join(KINDS)}, found {kinds!r}")
    if kinds and len(kinds) != fields.size("num_hidden_layers"):
        raise fields.error(
            f"layer_types has {len(kinds)} entries, "
            f"num_hidden_layers = {fields.size('num_hidden_layers')}"
        )
    return kinds
