"""The Python of docs/python.md runs as it stands there: raw chats to a trained model's answer."""

import os
import re
from pathlib import Path

import flow_helpers as flow

PAGE = Path(os.path.abspath(__file__)).parents[1] / "docs" / "python.md"


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flow.make_chats(Path("chats.jsonl"), 200, seed=1)
    texts = Path("chats.jsonl").read_text().splitlines()
    flow.make_model(Path("MODEL_DIR"), flow.make_tokenizer(Path("MODEL_DIR"), texts))
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    names: dict = {}
    exec(compile(block, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out
    assert str(names["made"]) in printed and str(names["run"]) in printed
    assert names["run"].steps == 2 and names["row"].isfinite()
