"""What a training run is asked to do: one frozen value, and how it is read from flags and a file.

The flags stand in `flags`, one dataclass a group of `--help`. Nothing heavy is imported here, so a
wrong flag is reported in well under a second on every machine of a job, before any process group
exists.
"""

import dataclasses
import sys
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from jllm.parallel.config.flags.adapters import Adapters
from jllm.parallel.config.flags.checkpoints import Checkpoints
from jllm.parallel.config.flags.device import Device
from jllm.parallel.config.flags.experts import Experts
from jllm.parallel.config.flags.invocation import Invocation
from jllm.parallel.config.flags.logging import Logging
from jllm.parallel.config.flags.model_and_data import ModelAndData
from jllm.parallel.config.flags.optimisation import Optimisation
from jllm.parallel.config.flags.parallelism import Parallelism
from jllm.parallel.config.yaml_file import flags_of_file


# A dataclass has the fields of its last base first.
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(
    Invocation,
    Device,
    Logging,
    Checkpoints,
    Adapters,
    Experts,
    Optimisation,
    Parallelism,
    ModelAndData,
):
    """What a training run is asked to do: the flags of all groups."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _CommandLine(Invocation):
    """Trains a language model with pipeline and data parallelism.

    Start one process per device:
    torchrun --nproc_per_node 2 -m jllm.train_pipe --model M --train_data D --pipe_parallel_size 2

    The number of processes divided by --pipe_parallel_size is the number of data-parallel replicas.
    The result depends on the data, --seed and the step, not on how the processes are laid out.
    """

    model_and_data: Annotated[ModelAndData, tyro.conf.arg(name="model and data")]
    parallelism: Parallelism
    optimisation: Optimisation
    experts: Experts
    adapters: Adapters
    checkpoints: Checkpoints
    logging: Logging
    device: Device


_SWITCHES = frozenset(f.name for f in dataclasses.fields(TrainConfig) if f.default is False)


def parse(
    arguments: Sequence[str] | None = None, *, prog: str = "python -m jllm.train_pipe"
) -> TrainConfig:
    """Read flags and the --config file.

    Raises:
        ValueError: the file is no YAML mapping, or has an unknown key, one twice or a value of
            another type.
        SystemExit: a flag is unknown or malformed (the message suggests the
            nearest), or --help was given.
    """
    parsed = tyro.cli(
        _CommandLine,
        prog=prog,
        args=_without_twins(_with_file(arguments)),
        use_underscores=True,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    return TrainConfig(**_flat(parsed))


def typed_flags(arguments: Sequence[str] | None = None) -> frozenset[str]:
    """Return the names of the flags typed on the command line or in its --config file.

    Raises:
        ValueError: as `parse` does.
    """
    names = {_name(argument.partition("=")[0]) for argument in _with_file(arguments)}
    switches = {name.removeprefix("no_") for name in names} & _SWITCHES
    return frozenset(names & {f.name for f in dataclasses.fields(TrainConfig)} | switches)


def _with_file(arguments: Sequence[str] | None) -> list[str]:
    """Return the flags of the --config file, if there is one, and then those of the command
    line."""
    given = sys.argv[1:] if arguments is None else arguments
    # DeepSpeed's launcher adds this flag and says the same by an environment variable.
    arguments = [a for a in given if not a.startswith("--local_rank=")]
    path = _config_file(arguments)
    kinds = typing.get_type_hints(TrainConfig)
    return [*(flags_of_file(Path(path), kinds) if path else ()), *arguments]


def _flat(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, those of the dataclasses in it among them."""
    found = {}
    for name, inner in vars(value).items():
        found |= _flat(inner) if dataclasses.is_dataclass(inner) else {name: inner}
    return found


def _without_twins(arguments: Iterable[str]) -> list[str]:
    """Let `--no_X`, which --help leaves out, take back each `--X` before it.

    So the command line can switch off what the file switches on.
    """
    kept: list[str] = []
    for argument in arguments:
        switch = _name(argument).removeprefix("no_")
        if switch in _SWITCHES and switch != _name(argument):
            kept = [earlier for earlier in kept if _name(earlier) != switch]
        else:
            kept.append(argument)
    return kept


def _name(argument: str) -> str:
    """Return the name of a flag, with underscores; "" for a value."""
    return argument[2:].replace("-", "_") if argument.startswith("--") else ""


def _config_file(arguments: Sequence[str]) -> str:
    for i, argument in enumerate(arguments):
        if argument.startswith("--config="):
            return argument.partition("=")[2]
        if argument == "--config" and i + 1 < len(arguments):
            return arguments[i + 1]
    return ""
