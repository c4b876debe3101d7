"""Two RL prompts with one number are found, across row groups, files and processes."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert_helpers import write_jsonl
from jllm.data.reading.dataset import open_dataset
from jllm.data.reading.prompt_ids import repeated_numbers
from jllm.data.reading.prompt_reader import PromptReader
from jllm.data.tools.verify.config import VerifyConfig
from jllm.data.tools.verify.verify import verify
from jllm.raw2ids import main
from shuffle_helpers import Quiet
from tokenizer_helpers import save_toy_tokenizer

NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from([-(2**31), 2**31 - 1]), st.integers(9, 99))


@settings(max_examples=100, deadline=None)
@given(groups=st.lists(st.lists(NUMBERS, max_size=6), max_size=4))
def test_the_first_prompt_that_repeats_a_number_is_named_with_the_one_before_it(
    groups: list[list[int]],
) -> None:
    arrays = [np.array(group, dtype=np.int32) for group in groups]
    said = repeated_numbers(arrays, [f"group {g}" for g in range(len(groups))])
    seen: dict[int, str] = {}
    found = []
    for g, group in enumerate(groups):
        for row, number in enumerate(group):
            if number in seen:
                found.append(
                    f"group {g}, row {row}: the prompt has the number {number}, as that of "
                    f"{seen[number]} has"
                )
            seen[number] = f"group {g}, row {row}"
    if not found:
        assert said == ""
        return
    assert said.startswith(found[0])
    more = re.search(r"has \((\d+) more repeat one\)", said)
    assert (int(more[1]) if more else 0) == len(found) - 1


def convert(tmp_path: Path, numbers: dict[str, list[int]], output: str = "out") -> int:
    """Converts files of prompts with these numbers by the command; gives its exit code."""
    inputs = tmp_path / f"in_{output}"
    inputs.mkdir()
    for name, of_file in numbers.items():
        write_jsonl(inputs / f"{name}.jsonl", [[n, {"user": f"{name} {n}?"}] for n in of_file])
    tokenizer = str(save_toy_tokenizer(tmp_path / "tokenizer"))
    flags = ["--tokenizer", tokenizer, "-i", str(inputs), "-o", str(tmp_path / output)]
    return main([*flags, "-t", "rl", "--max_len", "90", "--cores", "1", "--batch_size", "300"])


def findings(folder: Path, cores: int) -> list[str]:
    return verify(VerifyConfig(folder=str(folder), cores=cores), Quiet()).findings


def test_numbers_that_begin_anew_in_each_file_are_told_and_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = list(range(600)), [1000, 599, 598]
    assert convert(tmp_path, {"a": first, "b": second}) == 2
    assert (
        "error: b-00000-chunk-00.zstd.parquet, row group 0, row 1: the prompt has the number 599, "
        "as that of a-00000-chunk-01.zstd.parquet, row group 0, row 87 has (1 more repeat one)"
    ) in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.parquet"))

    folder = tmp_path / "a"  # as somebody would put two conversions together
    assert convert(tmp_path, {"a": first}, "a") == convert(tmp_path, {"b": second}, "b") == 0
    for path in (tmp_path / "b").glob("b*"):
        path.rename(folder / path.name)
    said = (
        f"{folder}/b-00000-chunk-00.zstd.parquet, row group 0, row 1: the prompt has the number "
        f"599, as that of {folder}/a-00000-chunk-01.zstd.parquet, row group 0, row 87 has "
        "(1 more repeat one); a reward function knows"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        PromptReader(open_dataset(folder), seed=1, prompts_per_step=4)
    for cores in (1, 2):
        (finding,) = findings(folder, cores)
        assert finding.startswith(said)


def test_numbers_of_their_own_are_read_and_sound(tmp_path: Path) -> None:
    assert convert(tmp_path, {"a": list(range(300)), "b": list(range(-300, 0))}) == 0
    folder = tmp_path / "out"
    assert findings(folder, 1) == []
    with PromptReader(open_dataset(folder), seed=1, prompts_per_step=600) as reader:
        assert sorted(one.number for one in reader.read(0)) == list(range(-300, 300))
