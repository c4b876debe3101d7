"""Every flag in a command that a document shows is one that the command has."""

import os
import subprocess
import sys

from structure.flags import documented, unknown
from structure.tree import ROOT, File, read_files

DOCUMENT = """
```shell
torchrun --nproc_per_node 2 -m jllm.train_pipe \\
    --model DIR --nope -C  # --not-this
python tools/bench/x.py --rows 1
jllm raw2ids -i x --max_len 9
```
--nor-this
"""


def usage(command: str) -> str:
    """What COMMAND --help says."""
    program = ["bash"] if command.endswith(".sh") else [sys.executable]
    call = [*program, *(["-m"] if command.startswith("jllm") else []), *command.split(), "--help"]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "200"}
    return subprocess.run(
        call, cwd=ROOT, env=env, check=True, capture_output=True, text=True
    ).stdout


def test_flags_are_read_from_commands_in_fences():
    used = documented([File(path="x.md", text=DOCUMENT)])
    assert used == {
        "jllm.train_pipe": {"--model": "x.md", "--nope": "x.md", "-C": "x.md"},
        "tools/bench/x.py": {"--rows": "x.md"},
        "jllm raw2ids": {"-i": "x.md", "--max_len": "x.md"},
    }
    assert unknown(used["jllm.train_pipe"], "-C, --model STR") == ["x.md: --nope"]
    assert unknown({"--max_len": "x.md"}, "--max-len INT") == []


def test_documents_use_flags_that_exist():
    used = documented(read_files())
    assert "jllm.train_pipe" in used
    findings = [
        f"{command}: {finding}"
        for command, flags in sorted(used.items())
        for finding in unknown(flags, usage(command))
    ]
    assert not findings, "\n" + "\n".join(findings)
