"""RL prompts are read in the deterministic order; what trains on answers refuses them."""

from pathlib import Path

import pytest

from jllm.data.format.schema import FileMetadata
from jllm.data.reading import order
from jllm.data.reading.dataset import Dataset, open_dataset
from jllm.data.reading.prompt_reader import PromptReader
from jllm.data.reading.reader import LaneReader
from parquet_helpers import numbered_rows, write_folder

METADATA = FileMetadata(kind="rl", max_len=9, tokenizer_digest="t")


def prompts(count: int, first: int = 0) -> list[dict[str, list[int]]]:
    return [{"input_ids": [first + n] * (n % 9 + 1), "labels": [-first - n]} for n in range(count)]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    files = {"a.parquet": prompts(11), "b.parquet": prompts(9, 11)}
    return open_dataset(write_folder(tmp_path / "d", files, metadata=METADATA))


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_step_has_the_prompts_of_the_order_for_every_number_of_readers(
    dataset: Dataset, shuffle: bool
) -> None:
    rows = prompts(11) + prompts(9, 11)
    starts = [0, 4, 8, 11, 15, 19]
    given = {"seed": 5, "prompts_per_step": 6, "shuffle": shuffle}
    with (
        PromptReader(dataset, **given) as whole,
        PromptReader(dataset, **given, lanes=range(2)) as left,
        PromptReader(dataset, **given, lanes=range(2, 6)) as right,
    ):
        assert whole.steps_per_epoch == 3
        for step in (0, 1, 2, 3, 7, 1):
            read = [(one.number, one.ids.tolist()) for one in whole.read(step)]
            halves = left.read(step) + right.read(step)
            assert [(one.number, one.ids.tolist()) for one in halves] == read
            groups, places = order.locate(dataset.group_rows, 5, 6, step, range(6), shuffle)
            found = [rows[starts[g] + p] for g, p in zip(groups, places, strict=True)]
            assert read == [(row["labels"][0], row["input_ids"]) for row in found]


def test_prompts_and_rows_to_train_on_are_not_taken_for_each_other(
    tmp_path: Path, dataset: Dataset
) -> None:
    with pytest.raises(ValueError, match="holds RL prompts, which have no answers to train on"):
        LaneReader(dataset, seed=1, global_batch_size=2, lanes=range(2))
    folder = write_folder(tmp_path / "text", {"a.parquet": numbered_rows(8)})
    with pytest.raises(ValueError, match="of kind pretrain, expected RL prompts"):
        PromptReader(open_dataset(folder), seed=1, prompts_per_step=2)
    with pytest.raises(ValueError, match="has 20 rows"):
        PromptReader(dataset, seed=1, prompts_per_step=21)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"input_ids": [1], "labels": [1, 2]}, "an RL prompt needs one entry of labels"),
        ({"input_ids": [], "labels": [5]}, "expected 1 to max_len = 9"),
        ({"input_ids": [1] * 10, "labels": [1]}, "expected 1 to max_len = 9"),
    ],
)
def test_rows_that_are_no_prompts_are_errors(
    tmp_path: Path, row: dict[str, list[int]], said: str
) -> None:
    folder = write_folder(tmp_path / "d", {"a.parquet": [row, *prompts(1)]}, metadata=METADATA)
    with pytest.raises(ValueError, match=f"a.parquet, row group 0, row 0: .*{said}"):
        PromptReader(open_dataset(folder), seed=1, prompts_per_step=1).read(0)
