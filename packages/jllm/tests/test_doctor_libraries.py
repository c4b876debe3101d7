"""What the doctor says of libraries: found, missing, or there and broken."""

import re
import tomllib
from pathlib import Path

import pytest

from command_line_helpers import environment
from jllm.cli.commands import DATA, MODELS, PACKAGES, PARALLEL
from jllm.cli.doctor import libraries
from jllm.cli.doctor.libraries import NEEDED, OPTIONAL, Library, load, look_at_libraries

ROOT = Path(__file__).absolute().parents[3]
BROKEN = {
    "raise ImportError('x.so: undefined symbol')": "ImportError: x.so: undefined symbol",
    "raise RuntimeError('two\\nlines')": "RuntimeError: two",
    "import no_such_module": "ModuleNotFoundError: No module named 'no_such_module'",
    "import a_library.inside": (
        "ModuleNotFoundError: No module named 'a_library.inside'; 'a_library' is not a package"
    ),
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": "its process was ended by signal 11",
    "import sys; sys.exit(3)": "exit code 3",
}
LIBRARY = Library(distribution="a-library", module="a_library")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which the doctor's processes look for modules first."""
    monkeypatch.setenv("PYTHONPATH", environment(tmp_path)["PYTHONPATH"])
    return tmp_path


def test_what_is_not_there_is_missing(folder):
    assert load(LIBRARY) == ("missing", "not installed")
    inner = Library(distribution="x", module="a_library.inside")
    assert load(inner) == ("missing", "not installed")


def test_what_is_there_tells_its_version(folder):
    (folder / "a_library.py").write_text("print('loading')\n__version__ = '1.2'\n")
    assert load(LIBRARY) == ("found", "1.2")
    (folder / "a_library-1.3.dist-info").mkdir()
    (folder / "a_library-1.3.dist-info/METADATA").write_text("Name: a-library\nVersion: 1.3\n")
    assert load(LIBRARY) == ("found", "1.3")


@pytest.mark.parametrize("text", BROKEN)
def test_what_is_there_and_does_not_load_is_broken(folder, text):
    (folder / "a_library.py").write_text(text)
    assert load(LIBRARY) == ("broken", BROKEN[text])


def test_what_never_ends_to_load_is_broken(folder, monkeypatch):
    (folder / "a_library.py").write_text("import time\ntime.sleep(600)")
    monkeypatch.setattr(libraries, "PATIENCE", 1.0)
    assert load(LIBRARY) == ("broken", "does not load within 1 s")


def look(monkeypatch: pytest.MonkeyPatch, **states: str) -> dict[str, libraries.Finding]:
    """The findings where every library is found but those named."""
    named = {name.replace("_", "-"): state for name, state in states.items()}
    monkeypatch.setattr(libraries, "load", lambda x: (named.get(x.distribution, "found"), "told"))
    return {finding.name: finding for finding in look_at_libraries()}


def test_a_missing_library_is_broken_where_a_package_needs_it(monkeypatch):
    found = look(monkeypatch, pyarrow="missing")["pyarrow"]
    assert (found.state, found.mend) == ("broken", 'pip install "jllm[data]"')
    assert found.detail == "not installed, and jllm-data needs it"


def test_a_missing_library_of_a_missing_package_is_not_named(monkeypatch):
    found = look(monkeypatch, pyarrow="missing", jllm_data="missing", jllm_parallel="missing")
    assert "pyarrow" not in found
    assert (found["jllm-data"].state, found["jllm-data"].mend) == (
        "missing",
        'pip install "jllm[data]"',
    )
    assert found["jllm-parallel"].mend == 'pip install "jllm[train]"'


def test_what_is_optional_may_be_missing_but_not_broken(monkeypatch):
    found = look(monkeypatch, pyspark="missing", vllm="missing", flash_attn="broken")
    assert (found["pyspark"].state, found["pyspark"].mend) == (
        "missing",
        'pip install "jllm-data[spark]"',
    )
    assert (found["vllm"].state, found["vllm"].mend) == ("missing", "")
    assert (found["flash-attn"].state, found["flash-attn"].detail) == ("broken", "told")


@pytest.mark.parametrize("package", [DATA, MODELS, PARALLEL], ids=lambda package: package.name)
def test_every_dependency_is_looked_at(package):
    project = tomllib.loads((ROOT / "packages" / package.name / "pyproject.toml").read_text())
    asked = {re.match(r"[\w-]+", line)[0] for line in project["project"]["dependencies"]}
    known = {lib.distribution for lib in NEEDED if package in lib.needed_by}
    assert asked - {"rich", *(p.name for p in PACKAGES)} == known
    extras = project["project"].get("optional-dependencies", {})
    mends = {library.install for library in OPTIONAL}
    left_out = {"npu", "generate", "torch"}  # told beside the devices; libraries of other packages
    assert {f'pip install "{package.name}[{extra}]"' for extra in extras.keys() - left_out} <= mends
