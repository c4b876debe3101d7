"""The commands that `jllm` knows, and the package of each.

Imports nothing of the packages: a command is found by its name alone.
"""

import difflib
from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True, kw_only=True)
class Package:
    """A distribution that provides commands."""

    name: str
    module: str
    """A module that exists if the distribution is installed."""
    extra: str
    """`pip install "jllm[EXTRA]"` installs it; "": this distribution itself."""

    @property
    def is_installed(self) -> bool:
        """Whether its module can be found; does not import it."""
        return find_spec(self.module) is not None

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f'pip install "jllm[{self.extra}]"'


JLLM = Package(name="jllm", module="jllm.cli", extra="")
DATA = Package(name="jllm-data", module="jllm.data", extra="data")
MODELS = Package(name="jllm-models", module="jllm.models", extra="models")
PARALLEL = Package(name="jllm-parallel", module="jllm.parallel", extra="train")
PACKAGES = (JLLM, DATA, MODELS, PARALLEL)


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command: `main(*, prog)` of a module, which reads the process's arguments itself."""

    name: str
    module: str
    package: Package
    about: str
    """One line for the list."""

    @property
    def names(self) -> tuple[str, ...]:
        """The accepted names: its own, and its module's (as in `python -m jllm.train_pipe`)."""
        return self.name, self.module.rpartition(".")[2]


def _command(name: str, module: str, package: Package, about: str) -> Command:
    return Command(name=name, module=f"jllm.{module}", package=package, about=about)


GROUPS = {
    "data": (
        _command("raw2ids", "raw2ids", DATA, "raw text and chats to packed token ids"),
        _command("raw2ids_spark", "raw2ids_spark", DATA, "the same as a Spark job"),
        _command("inspect", "inspect_data", DATA, "what a data set holds, what a step sees"),
        _command("verify", "verify_data", DATA, "check every byte and every row of a data set"),
        _command("shuffle", "shuffle_datasets", DATA, "shuffle data sets, larger than memory too"),
        _command("repartition", "repartition", DATA, "deal a data set's files to parts"),
    ),
    "train": (
        _command("train", "train_pipe", PARALLEL, "train a model on such a data set"),
        _command("describe", "models.describe", MODELS, "what a model is made of, what it costs"),
        _command("merge_lora", "merge_lora", MODELS, "add an adapter to its model"),
    ),
    "use": (
        _command("generate", "generate", MODELS, "a text that a model writes"),
        _command("doctor", "cli.doctor.command", JLLM, "what is here, what is missing or broken"),
    ),
}
"""The commands, in the order in which they are used."""


def find(name: str) -> Command | None:
    """Return the command with that name; hyphens and underscores are equivalent."""
    wanted = name.replace("-", "_")
    commands = [command for group in GROUPS.values() for command in group]
    return next((command for command in commands if wanted in command.names), None)


def nearest(name: str) -> str | None:
    """Return the command name most similar to `name`, if one is similar enough."""
    names = {word: command.name for g in GROUPS.values() for command in g for word in command.names}
    near = difflib.get_close_matches(name.replace("-", "_"), names, n=1)
    return names[near[0]] if near else None
