"""RL prompts, data sets behind URLs and shuffled ones are inspected like others."""

import re
from pathlib import Path

import pytest

from convert_helpers import info_of, run_convert, write_jsonl
from faulty_server_helpers import files_of, served
from inspection_helpers import make_chats, make_text, printed
from jllm.data.reading.dataset import open_dataset
from jllm.data.reading.prompt_reader import PromptReader
from jllm.shuffle_datasets import main as shuffle
from tokenizer_helpers import save_toy_tokenizer


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chats(tmp_path_factory.mktemp("chats"))


def test_prompts_show_their_numbers_and_roles_and_nothing_trained(tmp_path: Path) -> None:
    tokenizer = save_toy_tokenizer(tmp_path / "tokenizer")
    prompts = [[7 * i, {"system": "short"}, {"user": f"what is {i}?"}] for i in range(9)]
    run_convert(tokenizer, write_jsonl(tmp_path / "data.jsonl", prompts), tmp_path / "ids")
    text = printed(tmp_path / "ids", rows=9, chars=0)
    assert "kind              rl" in text and "⟦" not in text.replace("⟦ ⟧", "")
    for line, (number, *_) in enumerate(prompts, 1):
        assert f"── data.jsonl:{line}, prompt {number}  " in text
    shares = dict(re.findall(r"^ (\w+) +([\d,]+) .* 0.00% $", text, re.M))
    ids = sum(int(count.replace(",", "")) for count in shares.values())
    assert (
        set(shares) == {"system", "user", "assistant"}
        and ids == info_of(tmp_path / "ids")["tokens"]
    )
    step = printed(tmp_path / "ids", step=5, seed=3, global_batch_size=4)
    with PromptReader(open_dataset(tmp_path / "ids"), seed=3, prompts_per_step=4) as reader:
        numbers = [row.number for row in reader.read(4)]
    assert [int(n) for n in re.findall(r"prompt (\d+) ", step)] == numbers
    found = printed(tmp_path / "ids", find="is 8?")
    assert found.startswith("data.jsonl:9  row data") and "1 documents hold" in found


def test_a_data_set_behind_a_url_gives_the_report_of_the_folder(chats: Path) -> None:
    tokenizer = str(chats / "tokenizer")
    with served(files_of(chats)) as (address, _):
        url = f"{address}/data_info.json"
        there = printed(url, tokenizer=tokenizer)
        assert there.splitlines()[2:] == printed(chats, tokenizer=tokenizer).splitlines()[2:]
        for flags in ({"step": 2, "global_batch_size": 2}, {"find": "<script>"}):
            assert printed(url, tokenizer=tokenizer, **flags) == printed(chats, **flags)
        assert "--tokenizer DIR decodes them" in printed(url)


def test_a_shuffled_data_set_keeps_its_figures_and_its_records(chats: Path, tmp_path: Path) -> None:
    assert shuffle(["-d", str(chats), "-o", str(tmp_path / "out")]) == 0
    before, after = printed(chats, rows=999, chars=0), printed(tmp_path / "out", rows=999, chars=0)
    documents = r"^── data.jsonl:.*$"
    assert sorted(re.findall(documents, before, re.M)) == sorted(re.findall(documents, after, re.M))
    for heading in ("Documents by", "Rows by fill", "Supervised", "Account"):
        part = re.search(rf"^{heading}.*?\n\n", before, re.M | re.S)
        assert part and part[0] in after


def test_every_occurrence_over_many_stacked_rows_is_counted_once(tmp_path: Path) -> None:
    folder = make_text(tmp_path, ["word " * 200, "tail"], stack=True, max_len=9)
    found = printed(folder, find="word word")
    assert sum(int(n or 1) for n in re.findall(r"document \d+  (?:(\d+) times|once)", found)) == 199
