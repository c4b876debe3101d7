"""Importing a package, and the `--help` of a command, load nothing heavy.

Modules are counted, for the processor time of an import depends on what else the machine does;
`tools/bench/help.py` measures it.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import jllm

HEAVY = {
    *("torch", "transformers", "tokenizers", "jinja2", "gigatoken", "safetensors"),
    *("pyarrow", "numpy", "pandas", "pyspark", "tensorboard"),
}
NO_COMMANDS = {"jllm.cli.doctor.probe", "jllm.cli.doctor.torch_probe"}
"""What the doctor starts: it takes no flags."""
LOADED = "\nimport json, sys; sys.stderr.write(json.dumps(sorted(sys.modules)))"
HELP = """
import runpy, sys
sys.argv = ["command", "--help"]
try:
    runpy.run_module({!r}, run_name="__main__", alter_sys=True)
except SystemExit as ended:
    assert not ended.code, ended.code
else:
    raise AssertionError("--help did not end the command")
"""


def commands() -> list[str]:
    """The modules that are run with `python -m`."""
    found = set()
    for root in map(Path, jllm.__path__):
        for path in root.rglob("*.py"):
            if '__name__ == "__main__"' in path.read_text(encoding="utf-8"):
                found.add(".".join(("jllm", *path.relative_to(root).with_suffix("").parts)))
    return sorted(found - NO_COMMANDS)


def heavy_modules(code: str) -> set[str]:
    """What of HEAVY a fresh process has loaded after `code`."""
    ended = subprocess.run([sys.executable, "-c", code + LOADED], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    loaded = {name.partition(".")[0] for name in json.loads(ended.stderr)}
    return loaded & HEAVY


def test_the_commands_are_found():
    assert {"jllm.raw2ids", "jllm.train_pipe", "jllm.models.describe"} <= set(commands())


@pytest.mark.parametrize("command", commands())
def test_help_loads_nothing_heavy(command):
    assert heavy_modules(HELP.format(command)) == set()


@pytest.mark.parametrize("package", ["jllm.data", "jllm.models", "jllm.parallel"])
def test_a_package_alone_loads_nothing_heavy(package):
    assert heavy_modules(f"import {package}; dir({package})") == set()


def format_modules() -> list[str]:
    """The modules of jllm.data.format."""
    folders = [Path(root, "data", "format") for root in jllm.__path__]
    return sorted(path.stem for folder in folders for path in folder.glob("[a-z]*.py"))


def test_the_format_needs_neither_templates_nor_tokenizers():
    assert "info" in format_modules()
    code = "; ".join(f"import jllm.data.format.{name}" for name in format_modules())
    assert heavy_modules(code) <= {"pyarrow", "numpy"}
