"""The Gantt picture shows every action once, at its place."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from jllm.parallel.schedule.check import check
from jllm.parallel.schedule.draw import draw, main
from jllm.parallel.schedule.generators import one_f_one_b
from jllm.parallel.schedule.simulate import simulate, stage_durations

SVG = "{http://www.w3.org/2000/svg}"


def picture(stages: int, micro_batches: int) -> ElementTree.Element:
    durations = stage_durations((0.05,) * stages, (0.1,) * stages)
    return ElementTree.fromstring(
        draw(simulate(check(one_f_one_b(stages, micro_batches)), durations))
    )


def test_every_action_is_a_bar_of_its_duration() -> None:
    bars = [rect for rect in picture(4, 8).iter(f"{SVG}rect") if len(rect)]
    tips = sorted(rect[0].text for rect in bars)
    assert tips == sorted(
        text for m in range(8) for text in [f"F{m}: 50 ms"] * 4 + [f"B{m}: 100 ms"] * 4
    )
    widths = {rect[0].text[0]: float(rect.get("width")) for rect in bars}
    assert widths["B"] == pytest.approx(2 * widths["F"], abs=0.02)


def test_bars_of_a_rank_do_not_overlap_and_stay_inside() -> None:
    svg = picture(3, 5)
    rows: dict[str, list[tuple[float, float]]] = {}
    for rect in svg.iter(f"{SVG}rect"):
        if len(rect):
            x, width = float(rect.get("x")), float(rect.get("width"))
            rows.setdefault(rect.get("y"), []).append((x, x + width))
    assert len(rows) == 3
    for spans in rows.values():
        ordered = sorted(spans)
        assert all(a[1] <= b[0] + 0.02 for a, b in zip(ordered, ordered[1:], strict=False))
        assert ordered[-1][1] <= float(svg.get("width"))


def test_title_bubble_legend_and_numbers_are_there() -> None:
    texts = [element.text for element in picture(4, 8).iter(f"{SVG}text")]
    assert "1F1B: 4 ranks, 8 micro-batches" in texts
    assert "step 1.65 s, bubble 27.3%" in texts
    assert {"forward", "backward", "idle", "rank 0", "rank 3"} <= set(texts)
    assert "micro-batches held at most, by rank: 4, 3, 2, 1" in texts
    assert texts.count("7") == 8


def test_the_command_writes_the_picture(tmp_path: Path) -> None:
    out = tmp_path / "gpipe.svg"
    main(["--schedule", "gpipe", "--stages", "2", "--micro_batches", "3", "-o", str(out)])
    assert ElementTree.parse(out).getroot().tag == f"{SVG}svg"


def test_the_command_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--stages", "0", "-o", str(tmp_path / "none.svg")])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: --pipe_parallel_size 0")
    assert not (tmp_path / "none.svg").exists()
