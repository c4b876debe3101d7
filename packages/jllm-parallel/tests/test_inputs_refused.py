"""Data that cannot be trained on is refused before a model is read."""

import dataclasses
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jllm.data.format.schema import FileMetadata, arrow_schema
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.training.inputs import read_inputs
from training_helpers import MAX_LEN, write_data, write_model


def write_prompts(folder: Path) -> Path:
    folder.mkdir()
    metadata = FileMetadata(kind="rl", max_len=MAX_LEN, tokenizer_digest="")
    table = pa.table({"input_ids": [[1, 2]] * 9, "labels": [[7]] * 9})
    schema = arrow_schema(metadata, provenance=False)
    pq.write_table(table.cast(schema), folder / "a.parquet")
    (folder / "a_info.json").write_text(json.dumps({"num_samples": 9, "max_len": MAX_LEN}))
    return folder


@pytest.mark.parametrize("name", ["train", "eval"])
def test_rl_prompts_are_no_data_to_train_or_evaluate_on(tmp_path: Path, name: str) -> None:
    config = TrainConfig(
        model=str(write_model(tmp_path / "model", layers=1)),
        train_data=str(write_data(tmp_path / "data", 9)),
        threads=1,
        no_save=True,
    )
    config = dataclasses.replace(config, **{f"{name}_data": str(write_prompts(tmp_path / "rl"))})
    said = f"--{name}_data: holds RL prompts, which have no answers .*: give chats with answers"
    with pytest.raises(ValueError, match=said):
        read_inputs(config, 1)
