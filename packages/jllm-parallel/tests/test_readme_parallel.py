"""The Python of the README runs as it stands there."""

import os
import re
from pathlib import Path

from training_helpers import losses, write_data, write_model

README = Path(os.path.abspath(__file__)).parents[1] / "README.md"


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_model(Path("MODEL_DIR"))
    write_data(Path("ids"), rows=160)
    (block,) = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    exec(compile(block, str(README), "exec"), {})
    last = losses(Path("run"))[-1]
    assert capsys.readouterr().out == f"20 steps, last loss {last:.4f}, checkpoint run/20\n"
