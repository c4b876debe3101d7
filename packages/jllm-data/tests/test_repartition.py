"""Parts in the layout of old, each a data set; interrupted anywhere, finished or undone."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from jllm.data.reading.dataset import open_dataset
from jllm.data.tools.repartition import repartition as module
from jllm.data.tools.repartition.config import RepartitionConfig, check_repartition_config
from jllm.data.tools.repartition.repartition import repartition
from jllm.data.tools.verify.config import VerifyConfig
from jllm.data.tools.verify.verify import verify
from jllm.repartition import main, script
from parquet_helpers import numbered_rows, write_folder
from shuffle_helpers import Quiet, all_rows, bytes_of, write_dataset


def write(folder: Path, rows: int = 70, file_rows: int = 10) -> Path:
    """A data set of 7 files, in which `verify` finds nothing that the repartition could change."""
    write_dataset(folder, rows, file_rows=file_rows)
    kept = folder / "tokenizer"
    kept.mkdir()
    (kept / "tokenizer.json").write_text("{}")
    (folder / "notes.txt").write_text("mine")
    return folder


def run(folder: Path, **settings: object) -> str:
    config = RepartitionConfig(dataset=str(folder), **{"num_partition": 3, **settings})
    check_repartition_config(config)
    return repartition(config)


def sorted_rows(folder: Path) -> list[str]:
    return sorted(map(repr, all_rows(folder)))


def test_every_nth_file_goes_to_the_same_part_and_each_part_is_a_data_set(tmp_path: Path) -> None:
    folder = write(tmp_path / "ids")
    names, rows = sorted(path.name for path in folder.glob("*.parquet")), sorted_rows(folder)
    run(folder)
    parts = sorted(path for path in folder.iterdir() if "-part-" in path.name)
    assert len(parts) == 3 and len({part.name[:18] for part in parts}) == 1
    for number, part in enumerate(parts):
        assert re.fullmatch(f"[0-9a-f]{{18}}-part-{number:05d}", part.name)
        assert sorted(path.name for path in part.glob("*.parquet")) == names[number::3]
        assert open_dataset(part).num_rows == 10 * len(names[number::3])
        assert (part / "tokenizer/tokenizer.json").read_text() == "{}"
    visible = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    assert visible == {"data.info", "notes.txt", "tokenizer", *(part.name for part in parts)}
    assert open_dataset(folder).num_rows == 70 and sorted_rows(folder) == rows
    plan = json.loads((folder / "data.info").read_text())
    assert plan["state"] == "complete" and plan["num_partition"] == 3
    assert plan["whole"]["records"]["read"] == 143
    found = verify(VerifyConfig(folder=str(folder), cores=1), Quiet()).findings
    assert [finding for finding in found if "tokenizer" not in finding] == []


def test_undo_brings_every_byte_back(tmp_path: Path) -> None:
    folder = write(tmp_path / "ids")
    before = bytes_of(folder)
    run(folder)
    assert bytes_of(folder).keys() != before.keys()
    run(folder, undo=True)
    assert bytes_of(folder) == before
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"tokenizer"}


def test_links_leave_the_data_set_as_it_is_and_take_no_room(tmp_path: Path) -> None:
    folder, out = write(tmp_path / "ids"), tmp_path / "parts"
    before = bytes_of(folder)
    run(folder, output=str(out))
    assert bytes_of(folder) == before and open_dataset(out).num_rows == 70
    for path in out.rglob("*.parquet"):
        assert path.samefile(folder / path.name)
    run(folder, output=str(out), undo=True)
    assert bytes_of(folder) == before and not list(out.iterdir())
    run(folder, output=str(out), move=True)
    assert open_dataset(out).num_rows == 70 and not list(folder.glob("*.parquet"))
    run(folder, output=str(out), undo=True)
    assert bytes_of(folder) == before


@pytest.mark.parametrize("links", [False, True])
@pytest.mark.parametrize("undone", [False, True])
def test_stopped_before_any_step_it_goes_on_or_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool, undone: bool
) -> None:
    """Every link, removal and written file in turn is the one before which it stops."""
    left = [0]

    def counted(do):
        def step(*arguments, **more):
            if left[0] == 0:
                raise InterruptedError
            left[0] -= 1
            return do(*arguments, **more)

        return step

    folder = write(tmp_path / "ids", rows=40)
    out = {"output": str(tmp_path / "parts")} if links else {}
    before, rows = bytes_of(folder), sorted_rows(folder)
    target = tmp_path / "parts" if links else folder
    steps = refused = 0
    while True:
        left[0] = steps
        with monkeypatch.context() as patch:
            patch.setattr(os, "link", counted(os.link))
            patch.setattr(Path, "unlink", counted(Path.unlink))
            patch.setattr(module, "_write", counted(module._write))
            try:
                run(folder, **out)
                break
            except InterruptedError:
                pass
        try:
            assert open_dataset(target).num_rows == 40
        except ValueError:
            refused += 1
        if undone and (target / "data.info").exists():
            run(folder, undo=True, **out)
            assert bytes_of(folder) == before and open_dataset(folder).num_rows == 40
        elif not undone:
            run(folder, **out)
            assert sorted_rows(target) == rows and open_dataset(target).num_rows == 40
            run(folder, undo=True, **out)
            assert bytes_of(folder) == before
        steps += 1
    assert steps > 10 and refused > 3


def test_an_undo_that_is_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "ids")
    before = bytes_of(folder)
    run(folder)
    for _ in range(3):  # of 8 files, two each time
        with monkeypatch.context() as patch:
            links = iter([os.link, os.link])
            patch.setattr(os, "link", lambda *paths, links=links: next(links)(*paths))
            with pytest.raises(StopIteration):
                run(folder, undo=True)
        with pytest.raises(ValueError, match="--undo was interrupted"):
            run(folder)
    run(folder, undo=True)
    assert bytes_of(folder) == before


def test_nothing_that_is_in_the_way_is_touched(tmp_path: Path) -> None:
    folder = write(tmp_path / "ids")
    run(folder)
    (part,) = folder.glob("*-part-00001")
    run(folder, undo=True)
    part.mkdir()
    (part / "theirs").write_text("x")
    before = bytes_of(folder)
    with pytest.raises(ValueError, match=f"^{part}: is there already"):
        run(folder)
    assert bytes_of(folder) == before
    (part / "theirs").rename(folder / "data.info")
    part.rmdir()
    with pytest.raises(ValueError, match="data.info: not of a repartition"):
        run(folder)


def test_a_changed_byte_of_the_plan_is_found(tmp_path: Path) -> None:
    folder = write(tmp_path / "ids")
    run(folder)
    path = folder / "data.info"
    good = path.read_bytes()
    for place in range(0, len(good), len(good) // 20):
        path.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        found = verify(VerifyConfig(folder=str(folder), cores=1), Quiet()).findings
        assert any(finding.startswith(f"{path}: ") for finding in found)


def test_what_others_put_into_a_part_is_kept_by_undo(tmp_path: Path) -> None:
    folder = write(tmp_path / "ids")
    run(folder)
    (part,) = folder.glob("*-part-00001")
    (part / "theirs").write_text("x")
    run(folder, undo=True)
    assert (part / "theirs").read_text() == "x" and open_dataset(folder).num_rows == 70


def test_the_only_copy_left_is_never_removed(tmp_path: Path) -> None:
    folder, out = write(tmp_path / "ids"), tmp_path / "parts"
    run(folder, output=str(out))
    gone = next(folder.glob("*.parquet"))
    gone.unlink()
    before = bytes_of(out)
    with pytest.raises(ValueError, match="is no longer a link"):
        run(folder, output=str(out), undo=True)
    assert bytes_of(out) == before and open_dataset(out).num_rows == 70


def test_undo_ends_also_where_the_tokenizer_is_gone(tmp_path: Path) -> None:
    folder = write(tmp_path / "ids")
    before = bytes_of(folder)
    run(folder)
    shutil.rmtree(folder / "tokenizer")
    run(folder, undo=True)
    found = bytes_of(folder)
    copies = {name for name in found if str(name).endswith("/tokenizer/tokenizer.json")}
    assert len(copies) == 3 and open_dataset(folder).num_rows == 70
    kept = {name: found[name] for name in found if name not in copies}
    assert kept == {name: before[name] for name in before if "tokenizer" not in str(name)}


def test_files_that_would_have_one_name_are_refused_before_any_is_moved(tmp_path: Path) -> None:
    rows = numbered_rows(8)
    for name in ("a-b", "a/b"):
        write_folder(tmp_path / "in" / name, {"x.parquet": rows}, digests=False)
    before = bytes_of(tmp_path / "in")
    with pytest.raises(ValueError, match="both would be a-b-x.parquet"):
        run(tmp_path / "in", num_partition=2)
    assert bytes_of(tmp_path / "in") == before


def test_again_is_nothing_to_do_and_another_number_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "ids")
    run(folder)
    before = bytes_of(folder)
    run(folder)
    assert bytes_of(folder) == before
    with pytest.raises(ValueError, match="to 3 parts is complete; give -n 3, or --undo"):
        run(folder, num_partition=2)
    changed = (folder / "data.info").read_text().replace("notes", "nodes").replace("143", "144")
    (folder / "data.info").write_text(changed)
    with pytest.raises(ValueError, match="nothing is moved by a plan that was changed"):
        run(folder, undo=True)


def test_data_sets_in_folders_and_files_by_others(tmp_path: Path) -> None:
    rows = numbered_rows(8)
    for name in "ab":
        write_folder(tmp_path / "in" / name, {"x.parquet": rows}, digests=False)
    before = bytes_of(tmp_path / "in")
    run(tmp_path / "in", num_partition=2)
    found = sorted(path.name for path in (tmp_path / "in").rglob("*.parquet"))
    assert found == ["a-x.parquet", "b-x.parquet"] and open_dataset(tmp_path / "in").num_rows == 16
    run(tmp_path / "in", undo=True)
    assert bytes_of(tmp_path / "in") == before


def test_the_command_and_the_script_of_old(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "ids")
    assert main(["-d", str(folder), "-n", "9"]) == 2
    assert "holds 7 files; write more with python -m jllm.shuffle_datasets" in (
        capsys.readouterr().err
    )
    monkeypatch.setattr("sys.argv", ["repartition.sh", str(folder), "4"])
    assert script() == 0 and len(list(folder.glob("*-part-*"))) == 4
    assert main(["-d", str(folder), "--undo"]) == 0 and len(list(folder.glob("*.parquet"))) == 7
    monkeypatch.setattr("sys.argv", ["repartition.sh", str(folder)])
    assert script() == 2 and "usage: repartition.sh" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_partition": 0}, "--num_partition 0"),
        ({"move": True, "link": True}, "--move and --link"),
        ({"dataset": "absent"}, "absent: not a folder"),
        ({"link": True}, "--link to .*, in the data set itself"),
        ({"output": "in/parts", "move": True}, "--output in/parts is in the data set"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match=message):
        check_repartition_config(RepartitionConfig(**{"dataset": "in", **settings}))
