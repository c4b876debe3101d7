"""What caches and resumed conversions compare: it changes with any module of the package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import jllm.data

CODE = "from jllm.data.runtime.versions import code_digest; print(code_digest())"


def digest_of(sources: Path) -> str:
    """Return the digest that a process with these sources computes."""
    environment = os.environ | {"PYTHONPATH": str(sources), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-P", "-c", CODE]
    return subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package's sources."""
    sources = tmp_path_factory.mktemp("sources")
    shutil.copytree(
        Path(jllm.data.__file__).resolve().parent,
        sources / "jllm" / "data",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return sources


def test_a_change_in_any_room_changes_the_digest(copied: Path) -> None:
    found = {digest_of(copied)}
    modules = sorted((copied / "jllm" / "data").rglob("*.py"))
    rooms = {module.parent: module for module in modules}
    for changed in rooms.values():
        with changed.open("a", encoding="utf-8") as file:
            file.write("# changed\n")
        found.add(digest_of(copied))
    assert len(rooms) > 2
    assert len(found) == 1 + len(rooms)
