"""Running `jllm` as a process that finds only what a test lets it find."""

import os
import subprocess
import sys
from pathlib import Path

PACKAGES = ("cli", "data", "models", "parallel")


def paths(*packages: str) -> list[str]:
    """The path of this process without the sources of jllm's packages that are not named."""
    hidden = [name for name in PACKAGES if name not in packages]
    found = [path for path in sys.path if path]
    return [path for path in found if not any(Path(path, "jllm", name).is_dir() for name in hidden)]


def environment(*first: Path, packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """The environment of a process that finds these packages, and before them these folders."""
    path = os.pathsep.join([*map(str, first), *paths(*packages)])
    return os.environ | {"PYTHONPATH": path, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}


def jllm(*arguments: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """What `jllm …` says and returns."""
    call = [sys.executable, "-P", "-m", "jllm", *arguments]
    return subprocess.run(call, cwd=cwd, env=env, capture_output=True, text=True)
