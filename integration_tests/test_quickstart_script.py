"""tools/quickstart.sh before it does anything: help, wrong flags, a folder that is not its own."""

import subprocess

import pytest

import flow_helpers as flow

SCRIPT = flow.REPOSITORY / "tools/quickstart.sh"


def run_script(*arguments):
    command = ["bash", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_help_names_every_flag():
    done = run_script("--help")
    assert done.returncode == 0
    assert all(flag in done.stdout for flag in ("--model", "--minutes", "--steps", "--out"))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--modle", "x"], "--modle"),
        (["--steps", "0"], "--steps"),
        (["--minutes", "ten"], "--minutes"),
        (["--out"], "--out"),
        (["--model", "/absent"], "--model /absent"),
    ],
)
def test_a_wrong_flag_is_named(arguments, named):
    done = run_script(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and named in done.stderr


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    done = run_script("--out", tmp_path)
    assert done.returncode == 2 and str(tmp_path) in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
