"""The Python of the README runs as it stands there."""

import os
import re
from pathlib import Path

from generation_helpers import write_chat_model

README = Path(os.path.abspath(__file__)).parents[1] / "README.md"


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_chat_model(Path("MODEL_DIR"))
    (block,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    names: dict = {}
    exec(compile(block, str(README), "exec"), names)
    assert capsys.readouterr().out.strip()
    assert names["model"].module.units["0"].weight.grad is not None
