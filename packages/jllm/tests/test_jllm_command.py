"""The list of commands, and handing over to one of them."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from command_line_helpers import environment, jllm
from jllm.cli.commands import GROUPS

FAKE = """
import json, os, signal, sys
def main(*, prog):
    print(json.dumps([prog, sys.argv]))
    sys.stdout.flush()
    if "--die" in sys.argv:
        os.kill(os.getpid(), signal.SIGTERM)
    if "--exit" in sys.argv:
        sys.exit(7)
    return 5
"""
COMMANDS = [command for group in GROUPS.values() for command in group]
HEAVY = {"numpy", "pyarrow", "tokenizers", "torch", "transformers", "tyro"}


@pytest.fixture
def fake(tmp_path: Path) -> dict[str, str]:
    """An environment where jllm-models has a `generate` that tells what it was given."""
    (tmp_path / "jllm/models").mkdir(parents=True)
    (tmp_path / "jllm/models/__init__.py").touch()
    (tmp_path / "jllm/generate.py").write_text(FAKE)
    return environment(tmp_path, packages=("cli",))


def test_arguments_are_handed_on_unchanged(fake, tmp_path):
    given = ["--prompt", "a b", "--", "-x=1", "", "--help", "train"]
    done = jllm("generate", *given, env=fake, cwd=tmp_path)
    assert json.loads(done.stdout) == ["jllm generate", ["jllm generate", *given]]


def test_exit_codes_and_signals_are_the_commands(fake, tmp_path):
    codes = [
        jllm("generate", *flags, env=fake, cwd=tmp_path).returncode
        for flags in ([], ["--exit"], ["--die"])
    ]
    assert codes == [5, 7, -signal.SIGTERM]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_calls_each_command_by_the_name_that_runs_it(command, tmp_path):
    done = jllm(command.name.replace("_", "-"), "--help", env=environment(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: jllm {command.name} [-h]")


def test_a_command_answers_to_its_modules_name_too(tmp_path):
    done = jllm("train_pipe", "--help", env=environment(), cwd=tmp_path)
    assert done.stdout.startswith("usage: jllm train [-h]")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",), ("help",)])
def test_the_list_has_every_command_in_80_columns(arguments, tmp_path):
    done = jllm(*arguments, env=environment(), cwd=tmp_path)
    assert done.returncode == 0 and "not installed" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert listed == [command.name for command in COMMANDS]
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("  train "))
    assert line.split()[-1] == "jllm-parallel"


def test_the_list_says_what_is_not_installed(tmp_path):
    done = jllm(env=environment(packages=("cli", "models")), cwd=tmp_path)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    starred = {line.split()[0] for line in lines if line.rstrip().endswith(" *")}
    assert {"raw2ids", "train"} < starred
    assert not {"generate", "describe", "doctor"} & starred
    assert '  jllm-data:     pip install "jllm[data]"' in lines
    assert 'pip install "jllm[models]"' not in done.stdout


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c.package.extra], ids=lambda command: command.name
)
def test_a_missing_package_is_named_with_what_installs_it(command, tmp_path):
    done = jllm(command.name, "--help", env=environment(packages=("cli",)), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: jllm {command.name} is part of {command.package.name}, which is not installed: "
        f'pip install "jllm[{command.package.extra}]"\n'
    )


def test_a_missing_library_is_named_too(fake, tmp_path):
    (tmp_path / "jllm/generate.py").write_text("import no_such_library\n" + FAKE)
    done = jllm("generate", env=fake, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "error: jllm generate needs no_such_library, which is not installed: "
        'pip install "jllm[models]"\n'
    )


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("raw2id", "did you mean `jllm raw2ids`?"),
        ("train-pip", "did you mean `jllm train`?"),
        ("merge-lorra", "did you mean `jllm merge_lora`?"),
        ("xyzzy", "`jllm` lists all of them"),
        ("--bogus", "`jllm` lists all of them"),
    ],
)
def test_an_unknown_command_gets_a_suggestion(name, mend, tmp_path):
    done = jllm(name, "-i", "x", env=environment(packages=("cli",)), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: jllm has no command {name!r}; {mend}\n"


def test_listing_and_doctors_help_import_nothing_heavy():
    for arguments in (["jllm"], ["jllm", "doctor", "--help"]):
        code = (
            f"import sys; sys.argv = {arguments}\n"
            "from jllm.cli.main import main\n"
            "try:\n    main()\n"
            "except SystemExit as stop:\n    assert not stop.code\n"
            f"heavy = {HEAVY} & sys.modules.keys()\n"
            "assert not heavy, heavy"
        )
        call = [sys.executable, "-c", code]
        subprocess.run(call, env=environment(), check=True, capture_output=True)


def test_the_version_is_told(tmp_path):
    from jllm.cli import __version__

    assert jllm("--version", env=environment(), cwd=tmp_path).stdout == f"jllm {__version__}\n"
