"""A run that goes on from a checkpoint: which settings are the checkpoint's, and which differ."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from jllm.parallel.config.config import TrainConfig
from jllm.parallel.config.flags.free import COMPARED_BY_CONTENT, FREE


def continued(
    config: TrainConfig, before: Mapping[str, Any], typed: Collection[str] | None
) -> tuple[TrainConfig, list[str]]:
    """Return the run as it goes on, and a line for each setting that was taken or that differs.

    Args:
        config: as the flags say.
        before: the flags of the checkpoint's run; what it does not have was at its default.
        typed: names of the flags that somebody typed; None for all.
    """
    free = {flag: group for group in FREE for flag in group.flags}
    taken, said = {}, []
    for field in dataclasses.fields(config):
        name, now = field.name, getattr(config, field.name)
        was = before.get(name, field.default)
        if was == now or name in COMPARED_BY_CONTENT and (typed is None or name in typed):
            continue
        if name not in free and typed is not None and name not in typed:
            taken[name] = was
            said.append(f"--{name} {_shown(was)}, as in the checkpoint's run")
        elif name not in free or free[name].listed:
            said.append(f"--{name} {_shown(now)}; the checkpoint's run had {_shown(was)}")
    return dataclasses.replace(config, **taken), said


def _shown(value: object) -> str:
    return '""' if value == "" else str(value)
