"""What the command prints for a fixed small data set, and what it says to wrong flags."""

import re
import shutil
from pathlib import Path

import pytest

from convert_helpers import info_of
from inspection_helpers import CHATS, MAX_LEN, make_chats, make_text, printed
from jllm.data.reading import order
from jllm.data.reading.mixture import open_mixture
from jllm.data.tools.inspect.config import InspectConfig, check_config
from jllm.inspect_data import main
from parquet_helpers import write_folder


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chats(tmp_path_factory.mktemp("chats"))


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("width", [40, 100, 200])
def test_the_report_has_the_figures_of_the_conversion(chats: Path, width: int) -> None:
    text, info = flat(printed(chats, width=width)), info_of(chats)
    assert f"kind ft max_len {MAX_LEN} ids a row files 1, " in text
    assert f"rows {info['num_samples']:,} in 1 row groups" in text
    assert f" ids {info['tokens']:,} " in text
    assert f"trained ids {info['trained_tokens']:,} (" in text
    fill = info["tokens"] / (info["num_samples"] * MAX_LEN)
    assert f"fill {fill:.2%}" in text
    assert f"tokenizer digest {info['tokenizer_digest'][:12]}" in text
    read = f"read {len(CHATS) + 1} written {len(CHATS) - 1} dropped: longer than max_len 1"
    assert f"{read} dropped: malformed JSON 1" in text
    assert f"data.jsonl:{len(CHATS) + 1}: malformed JSON" in text


def test_only_the_assistant_is_trained_and_shares_add_up(chats: Path) -> None:
    text, info = printed(chats), info_of(chats)
    rows = re.findall(
        r"^ (system|user|assistant|tool) +([\d,]+) +\S+ +([\d,]+) +(\S+)%", text, re.M
    )
    found = {name: (int(ids.replace(",", "")), int(trained.replace(",", "")))
             for name, ids, trained, _ in rows}  # fmt: skip
    assert set(found) == {"system", "user", "assistant", "tool"}
    assert sum(ids for ids, _ in found.values()) == info["tokens"]
    assert found.pop("assistant")[1] == info["trained_tokens"]
    assert all(trained == 0 for _, trained in found.values())


def test_rows_show_borders_with_source_and_record_and_what_is_trained(chats: Path) -> None:
    text = printed(chats, rows=99, chars=0)
    borders = [int(n) for n in re.findall(r"^── data\.jsonl:(\d+)  ", text, re.M)]
    assert set(borders) == set(range(1, len(CHATS) + 1)) - {5}
    assert "one plus one?<|im_end|>\n<|im_start|>assistant\n⟦two<|im_end|>⟧" in text
    assert "\x1b" not in text and "⟨U+001B⟩[31mred 中文" in text


def test_a_terminal_gets_colours_instead_of_brackets(chats: Path) -> None:
    text = printed(chats, rows=99, chars=0, terminal=True)
    assert "\x1b[1;32mtwo\x1b[0m" in text and "⟦" not in text
    assert "\x1b[31mred" not in text


def test_long_texts_are_cut_where_they_are_longest(chats: Path) -> None:
    text = printed(chats, rows=99, chars=200)
    assert re.search(r"^question \d.* … \d+ characters … .*<\|im_end\|>$", text, re.M)
    assert "<|im_start|>assistant\n⟦two<|im_end|>⟧" in text


def test_a_row_and_a_step_are_shown_instead_of_the_report(chats: Path) -> None:
    (name,) = (file.name for file in chats.glob("*.parquet"))
    text = printed(chats, row=(f"{name}:1",), chars=0)
    assert text.startswith(f"{name}:1, ") and "Account" not in text
    step = printed(chats, step=3, global_batch_size=2)
    assert step.startswith("step 3 (epoch ") and "seed 1234, 2 rows" in step
    assert f"lane 0: {name}:" in step and f"lane 1: {name}:" in step and "⟦" not in step
    assert "⟦" in printed(chats, step=3, global_batch_size=2, decode=True)


def test_step_1_is_the_first_of_a_run_and_of_epoch_1(chats: Path) -> None:
    (name,) = (file.name for file in chats.glob("*.parquet"))
    data = open_mixture(str(chats))
    (groups, rows), steps = (
        order.locate(data.parts[0].group_rows, 1234, 2, 0, range(2)),
        data.num_rows // 2,
    )
    assert not groups.any()  # one row group, so a row of it is a row of the file
    first = printed(chats, step=1, global_batch_size=2)
    assert first.startswith(f"step 1 (epoch 1, {steps} steps an epoch)")
    assert [int(n) for n in re.findall(rf"^lane \d: {name}:(\d+)", first, re.M)] == rows.tolist()
    last = printed(chats, step=steps, global_batch_size=2)
    assert last.startswith(f"step {steps} (epoch 1,")
    assert printed(chats, step=steps + 1, global_batch_size=2).startswith(
        f"step {steps + 1} (epoch 2,"
    )
    found = printed(chats, find="<script>", global_batch_size=2, epochs=3)
    (seen,) = re.findall(r"(?:once|times)  (.*)$", found, re.M)
    for epoch, text in enumerate(seen.split(", "), 1):
        step = text.removeprefix("step ")
        assert text == f"not in epoch {epoch}" or (int(step) - 1) // steps + 1 == epoch


def test_find_names_the_document_and_a_step_that_shows_it(chats: Path) -> None:
    text = printed(chats, find="<script>", global_batch_size=2)
    (record, row, step) = re.findall(
        r"^data\.jsonl:(\d+)  row (\S+), document \d+  once  step (\d+)$", text, re.M
    )[0]
    assert record == "3" and text.endswith("1 documents hold '<script>'\n")
    shown = printed(chats, step=int(step), global_batch_size=2, decode=True, chars=0)
    assert row in shown and "<script>" in shown
    assert printed(chats, find="no such text") == "0 documents hold 'no such text'\n"


def test_text_of_stacked_rows_says_how_much_is_trained(tmp_path: Path) -> None:
    folder = make_text(tmp_path, ["some text " * 30, "more"], stack=True)
    text, info = flat(printed(folder)), info_of(folder)
    assert f"trained ids {info['trained_tokens']:,} (" in text
    assert "not known: rows of kind pretrain have no roles; of all ids" in text


def test_files_by_others_show_ids_until_a_tokenizer_is_given(chats: Path, tmp_path: Path) -> None:
    rows = [{"input_ids": [i, 65, 66, 67], "labels": [-100, 65, 66, 67]} for i in range(9)]
    folder = write_folder(tmp_path / "ids", {"a.parquet": rows}, digests=False)
    text = printed(folder, rows=1)
    assert "⟦65 66 67 ⟧" in text and "── source not kept  4 ids, 3 trained" in text
    assert "--tokenizer DIR decodes them" in text and "keep none (files by others)" in text
    assert "65 66" not in printed(folder, rows=1, tokenizer=str(chats / "tokenizer"))
    with pytest.raises(ValueError, match="--find: .* keeps no tokenizer: give --tokenizer DIR"):
        printed(folder, find="a")


def test_any_word_can_be_found(chats: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(chats), "--find", "None"]) == 0
    assert capsys.readouterr().out.endswith("0 documents hold 'None'\n")


def test_another_tokenizer_is_noted(chats: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(chats / "tokenizer", tmp_path / "other")
    rules = (copy / "tokenizer.json").read_text().replace('"<think>"', '"<thonk>"')
    (copy / "tokenizer.json").write_text(rules)
    assert "is not the one that made the data" in printed(chats, tokenizer=str(copy))


def test_a_sample_counts_some_row_groups_and_says_so(tmp_path: Path) -> None:
    rows = [{"input_ids": [7] * 9, "cu_seqlens": [0, 8]}] * 40
    folder = write_folder(tmp_path, {"a.parquet": rows})
    text = flat(printed(folder, sample=0.2))
    assert "rows 40 in 10 row groups counted below 8 rows, in 2 of 10 row groups" in text
    assert " ids 72 " in text


def test_a_damaged_row_group_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"input_ids": [i] * 9, "cu_seqlens": [0, 8]} for i in range(8)]
    folder = write_folder(tmp_path, {"a.parquet": rows}, use_dictionary=False, compression="none")
    path = folder / "a.parquet"
    path.write_bytes(
        path.read_bytes().replace(b"\x07\0\0\0" * 9, b"\x07\0\0\0" * 8 + b"\x08\0\0\0")
    )
    assert main([str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}, row group 1: ") and error.count("\n") == 1


def test_a_mixture_is_asked_as_it_is_trained_on(chats: Path, tmp_path: Path) -> None:
    other = shutil.copytree(chats, tmp_path / "other")
    both = f"{chats}:1,{other}:1"
    shown = printed(both, step=2, global_batch_size=4)
    assert shown.count(": ids/") == 2 and shown.count(": other/") == 2
    found = printed(both, find="<script>", global_batch_size=4)
    assert found.endswith("2 documents hold '<script>'\n")
    steps = re.findall(r"row (\S+),.* step (\d+)$", found, re.M)
    assert all(row in printed(both, step=int(step), global_batch_size=4) for row, step in steps)
    assert flat(printed(both)).count("kind ft") == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"step": 1}, "--step: which rows it sees depends on --global_batch_size"),
        ({"step": 0, "global_batch_size": 2}, "--step 0: expected 1 or more"),
        ({"step": 1, "global_batch_size": -2}, "--global_batch_size -2"),
        ({"step": 1, "find": "a"}, "--step and --find: give one of them"),
        ({"find": "a", "html": "x.html"}, "--html: is for the report"),
        ({"find": ""}, "--find: the text is empty"),
        ({"html": "nowhere/x.html"}, "--html nowhere/x.html: nowhere is not a folder"),
        ({"decode": True}, "--decode: is for --step"),
        ({"sample": 0.0}, "--sample 0.0"),
        ({"rows": -1}, "--rows -1"),
    ],
)
def test_flags_that_cannot_be_meant_are_refused(flags: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_config(InspectConfig(data="ids", **flags))
    assert message in str(caught.value)


@pytest.mark.parametrize("row", ["x.parquet:1", "nope", "0.parquet:99", "0.parquet:-1"])
def test_a_row_that_there_is_not_is_refused(tmp_path: Path, row: str) -> None:
    folder = write_folder(tmp_path, {"0.parquet": [{"input_ids": [1] * 9}] * 3}, digests=False)
    with pytest.raises(ValueError, match=f"--row {row}: "):
        printed(folder, row=(row,))


def test_ctrl_c_ends_it_with_one_line(
    chats: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("jllm.data.tools.inspect.inspect.make_report", lambda *a, **k: stop())
    assert main([str(chats)]) == 130
    assert capsys.readouterr().err == "error: stopped; no page was written\n"


def test_help_shows_an_example_of_each_question(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for flag in ("--html", "--step", "--find", "--row", "--seed", "--tokenizer", "--sample"):
        assert flag in text
