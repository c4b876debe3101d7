"""The Python of the README runs as it stands there."""

import os
import re
from pathlib import Path

from convert_helpers import write_jsonl
from tokenizer_helpers import save_toy_tokenizer

README = Path(os.path.abspath(__file__)).parents[1] / "README.md"


def test_the_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_toy_tokenizer(Path("MODEL_DIR"))
    said = [[{"user": f"say {n}"}, {"assistant": "word " * 300}] for n in range(40)]
    write_jsonl(Path("chats.jsonl"), said)
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    assert len(blocks) == 2
    printed = capsys.readouterr().out
    assert str(names["made"]) in printed and "(8, 2048) (8, 2048)" in printed
    assert names["batch"].step == 999
    assert names["state"]["step"] == names["reader"].steps_per_epoch
