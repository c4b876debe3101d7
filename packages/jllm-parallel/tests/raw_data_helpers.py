"""Raw chats, and their rows as raw2ids makes them."""

import json
from pathlib import Path
from typing import Any

from jllm.parallel.config.config import TrainConfig
from jllm.raw2ids import main as raw2ids

CHATS = [
    {
        "messages": [
            {"role": "user", "content": f"what is {n}?"},
            {"role": "assistant", "content": "red"},
        ]
    }
    for n in range(24)
]


def write_chats(path: Path, chats: list[Any] = CHATS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in chats))
    return path


def by_hand(config: TrainConfig, out: Path, source: str = "", kind: str = "ft") -> Path:
    source = source or config.train_data
    flags = ["--tokenizer", config.model, "-i", source, "-o", out, "--max_len", config.max_len]
    assert raw2ids([*map(str, flags), "-t", kind]) == 0
    return out


def rows(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*.parquet")}
