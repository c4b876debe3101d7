"""The command: its help teaches, its errors are one line, its flags are the seeds'."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from convert_helpers import info_of, rows_of, write_jsonl
from jllm import convert_raw_to_ids
from jllm.data.convert.config import Raw2IdsConfig, check_config
from jllm.raw2ids import main
from tokenizer_helpers import save_toy_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def test_help_shows_an_example_of_each_kind_and_every_flag(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for shown in (
        "-i chats.jsonl",
        "-t pretrain -i text.txt",
        "--stack",
        '[{"user": "…"}, {"assis',
    ):
        assert shown in text
    flags = "--type --input --output --num_lines_per_partition --chunk_size --batch_size --max_len"
    flags += " --compress --cores --tokenizer --stack --clean --pad --filter --on_error"
    flags += " --auto_no_thinking --thread --tmp"
    short = "-t -i -o -n -c -C -T"
    for flag in [*flags.split(), *short.split()]:
        assert f"{flag} " in text or f"{flag}," in text, flag


def test_one_command_converts_and_prints_the_account(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "data.jsonl"
    source.write_text('[{"user": "a"}, {"assistant": "b"}]\n{\n')
    flags = ["--tokenizer", str(tokenizer), "-i", str(source), "-C", "--on-error", "skip"]
    assert main([*flags, "--max-len", "99", "--cores", "1"]) == 0
    out = tmp_path / f"data_{tokenizer.name}"
    assert len(rows_of(out)) == 1 and info_of(out)["records"]["read"] == 2
    printed = capsys.readouterr().out
    assert "data.jsonl: 1 dropped: malformed JSON" in printed and "data.jsonl:2: " in printed


def test_errors_are_one_line_on_standard_error_and_exit_code_2(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "data.jsonl"
    source.write_text("{\n")
    flags = ["--tokenizer", str(tokenizer), "-i", str(source), "-o", str(tmp_path / "out")]
    assert main([*flags, "--cores", "2"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {source}:1: malformed JSON") and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"type": "pretrian"},
            "--type pretrian: expected ft, pretrain or rl; did you mean pretrain?",
        ),
        ({"max_len": 1}, "--max_len 1"),
        ({"cores": 0}, "--cores 0"),
        ({"batch_size": 0}, "--batch_size 0"),
        ({"chunk_size": -1}, "--chunk_size -1"),
        ({"num_lines_per_partition": 0}, "--num_lines_per_partition 0"),
        ({"stack": True}, "--stack cuts documents"),
        ({"type": "pretrain", "stack": True, "pad": True}, "--pad with --stack"),
        ({"type": "pretrain", "filter": True}, "--filter drops chats"),
        ({"type": "pretrain", "template_kwargs": "{}  "}, "--template_kwargs"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError) as caught:
        check_config(Raw2IdsConfig(tokenizer="t", input="i", **settings))
    assert message in str(caught.value)


def test_the_old_spelling_of_pretrain_is_taken(tmp_path: Path, tokenizer: Path) -> None:
    source = write_jsonl(tmp_path / "data.jsonl", [{"text": "a"}])
    flags = ["--tokenizer", str(tokenizer), "-i", str(source), "-o", str(tmp_path / "out")]
    assert main([*flags, "--type", "pretain", "--cores", "1"]) == 0
    assert info_of(tmp_path / "out")["kind"] == "pretrain"


def test_a_scratch_folder_is_accepted_and_not_used(
    tmp_path: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, scratch = write_jsonl(tmp_path / "data.jsonl", [{"text": "a"}]), tmp_path / "tmp"
    flags = ["--tokenizer", str(tokenizer), "-i", str(source), "-o", str(tmp_path / "out"), "-T"]
    assert main([*flags, "-t", "pretrain", "--cores", "2", "--tmp", str(scratch)]) == 0
    printed = capsys.readouterr().out
    assert f"note: --tmp {scratch}: nothing is written there, but to " in printed
    assert not scratch.exists()


def test_the_older_name_is_the_same_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        convert_raw_to_ids.main(["--help"])
    assert caught.value.code == 0 and "--stack" in capsys.readouterr().out


def test_the_command_imports_no_torch(tmp_path: Path, tokenizer: Path) -> None:
    """It takes seconds where it is installed, and nothing here needs it."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise RuntimeError('torch was imported')")
    source = write_jsonl(tmp_path / "data.jsonl", [[{"user": "a"}, {"assistant": "b"}]])
    flags = ["--tokenizer", str(tokenizer), "-i", str(source), "-o", str(tmp_path / "out")]
    folders = [str(tmp_path), *filter(None, sys.path)]
    done = subprocess.run(
        [sys.executable, "-m", "jllm.raw2ids", *flags, "--max_len", "99"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert len(rows_of(tmp_path / "out")) == 1
