"""Check whether the libraries that jllm uses are installed, and whether they load."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from jllm.cli.commands import DATA, MODELS, PACKAGES, PARALLEL, Package
from jllm.cli.doctor.finding import Finding, State

PATIENCE = 180.0
"""Seconds that one library may take to load; the slowest take 30 from a cold disk."""
AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class Library:
    """A library: its distribution, and the module that is imported to see whether it loads."""

    distribution: str
    module: str
    needed_by: tuple[Package, ...] = ()
    """Packages that do not work without it."""
    use: str = ""
    """Its purpose, if no package needs it."""
    install: str = ""
    """The command that installs it, if no package requires it; "": better installed in a separate
    environment, because it needs another torch."""


def _needed(distribution: str, *packages: Package, module: str = "") -> Library:
    module = module or distribution
    return Library(distribution=distribution, module=module, needed_by=packages)


def _extra(distribution: str, use: str, install: str, *, module: str = "") -> Library:
    line = f'pip install "{install}"'
    return Library(distribution=distribution, module=module or distribution, use=use, install=line)


def _other(distribution: str, use: str, *, module: str = "") -> Library:
    return Library(distribution=distribution, module=module or distribution, use=use)


NEEDED = (
    _needed("torch", MODELS, PARALLEL),
    _needed("transformers", DATA),
    _needed("tokenizers", DATA),
    _needed("numpy", DATA, MODELS, PARALLEL),
    _needed("pyarrow", DATA),
    _needed("safetensors", MODELS),
    _needed("tyro", DATA, PARALLEL),
    _needed("pyyaml", PARALLEL, module="yaml"),
    _needed("jinja2", DATA),
    _needed("blake3", DATA),
    _needed("xxhash", DATA),
)
OPTIONAL = (
    _extra("gigatoken", "tokenises faster", "jllm-data[fast]"),
    _extra("pyspark", "jllm raw2ids_spark", "jllm-data[spark]"),
    _extra("hdfs-native", "data on HDFS", "jllm-data[hdfs]", module="hdfs_native"),
    _extra("s3fs", "data on S3", "jllm-data[s3]"),
    _extra("aiohttp", "data on web servers", "jllm-data[remote]"),
    _extra("tensorboard", "draws the metrics of a run", "jllm-parallel[tensorboard]"),
    _other("flash-attn", "attention of other programs", module="flash_attn"),
    _other("vllm", "serves what was trained"),
    _other("ray", "starts processes on a cluster"),
    _other("deepspeed", "its launcher may start jllm.train_pipe"),
)


def look_at_libraries() -> Iterator[Finding]:
    """Import every package and library in turn, several at once, and yield the findings."""
    packages = [Library(distribution=p.name, module=p.module) for p in PACKAGES]
    asked = [*packages, *NEEDED, *OPTIONAL]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(load, asked))
    found = dict(zip((library.distribution for library in asked), outcomes, strict=True))
    for package in PACKAGES:
        state, told = found[package.name]
        mend = "" if state == "found" else package.install
        yield Finding(group="packages", name=package.name, state=state, detail=told, mend=mend)
    for library in NEEDED:
        state, told = found[library.distribution]
        users = [package for package in library.needed_by if found[package.name][0] == "found"]
        if state == "missing" and users:
            state, told = "broken", f"not installed, and {users[0].name} needs it"
        if state == "missing":
            continue  # its package is missing, and would install it
        mend = users[0].install if users else library.needed_by[0].install
        yield Finding(
            group="libraries",
            name=library.distribution,
            state=state,
            detail=told,
            mend="" if state == "found" else mend,
        )
    for library in OPTIONAL:
        state, told = found[library.distribution]
        yield Finding(
            group="optional",
            name=library.distribution,
            state=state,
            detail=told if state == "broken" else f"{told} ({library.use})",
            mend="" if state == "found" else library.install,
        )


def load(library: Library) -> tuple[State, str]:
    """Import a library in a separate process.

    Returns its state, and its version or what went wrong. It is "missing" only if the module itself
    cannot be found; if one of its own imports is missing, it is "broken".
    """
    outcome = run_probe("probe.py", library.module, library.distribution)
    if outcome.error is None:
        return "found", outcome.last_line
    if outcome.error.startswith("ModuleNotFoundError: No module named "):
        absent = outcome.error.partition("'")[2].partition("'")[0]
        if library.module == absent or library.module.startswith(absent + "."):
            return "missing", "not installed"
    return "broken", outcome.error


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The last line of a probe's output, or why it failed."""

    last_line: str = ""
    error: str | None = None


def run_probe(script: str, *arguments: str) -> Outcome:
    """Run a script of this folder with this interpreter; its failure raises no error."""
    path = Path(__file__).with_name(script)
    # -P: files of this folder do not shadow modules.
    call: Sequence[str] = [sys.executable, "-P", str(path), *arguments]
    try:
        done = subprocess.run(
            call,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return Outcome(error=f"does not load within {PATIENCE:.0f} s")
    if done.returncode == 0:
        return Outcome(last_line=done.stdout.strip().splitlines()[-1])
    if done.returncode < 0:
        return Outcome(error=f"its process was ended by signal {-done.returncode}")
    said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return Outcome(error=_reason(said))


def _reason(lines: Sequence[str]) -> str:
    """Return the line of the last traceback that names the exception, or else the last line."""
    starts = [i for i, line in enumerate(lines) if line.startswith("Traceback (most recent call")]
    after = lines[starts[-1] + 1 :] if starts else []
    return next((line for line in after if line and not line[0].isspace()), lines[-1])
