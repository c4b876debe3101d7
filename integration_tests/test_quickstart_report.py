"""The quickstart's report: it fails unless the held-out loss fell, and draws what it read."""

import json
from xml.etree import ElementTree

import pytest
from loss_curve import draw_losses
from report import sparkline

import flow_helpers as flow

REPORT = flow.REPOSITORY / "tools/quickstart/report.py"


def write_metrics(path, evaluations):
    lines = [{"step": step, "loss": 3 - step / 10} for step in range(1, 5)]
    lines += [{"step": step, "eval_loss": loss} for step, loss in evaluations]
    path.write_text("\n".join(map(json.dumps, lines)))


@pytest.mark.parametrize(
    ("evaluations", "code"),
    [
        ([(0, 3.0), (4, 2.5)], 0),
        ([(0, 3.0), (4, 3.0)], 1),
        ([(0, 3.0), (4, float("nan"))], 1),
        ([(0, 3.0)], 2),
    ],
)
def test_the_exit_code_says_whether_the_held_out_loss_fell(tmp_path, evaluations, code):
    write_metrics(tmp_path / "metrics.jsonl", evaluations)
    assert flow.run(REPORT, tmp_path / "metrics.jsonl").returncode == code


def test_the_picture_is_xml_with_a_dot_for_each_evaluation():
    picture = ElementTree.fromstring(draw_losses([(1, 3.0), (2, 2.5)], [(0, 3.1), (2, 2.6)]))
    assert len(picture.findall("{*}circle")) == 2
    assert len(picture.find("{*}polyline").get("points").split()) == 2


def test_equal_losses_can_be_drawn():
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert ElementTree.fromstring(draw_losses([(1, 2.0)], [])) is not None
