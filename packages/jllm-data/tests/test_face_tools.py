"""The tools for whole data sets as functions: their results print themselves and hold values."""

import pytest

import jllm.data as jd
from convert_helpers import write_jsonl
from tokenizer_helpers import save_toy_tokenizer


@pytest.fixture(scope="module")
def ids(tmp_path_factory):
    """A converted data set with its tokenizer."""
    folder = tmp_path_factory.mktemp("data")
    chats = [[{"user": f"say {n}"}, {"assistant": f"it is {n}"}] for n in range(60)]
    source = write_jsonl(folder / "chats.jsonl", chats)
    tokenizer = save_toy_tokenizer(folder / "toy")
    return jd.raw2ids(source, folder / "ids", tokenizer=tokenizer, max_len=65, cores=1).output


def test_shuffle_repartition_and_back(ids, tmp_path, capfd):
    done = jd.shuffle(ids, tmp_path / "shuffled", num_block=4, cores=1, mem_gb=4)
    assert (done.files, done.rows) == (4, jd.open_dataset(ids).num_rows)
    assert f"{done.rows} rows in 4 files" in str(done) and repr(done) == str(done)
    parts = jd.repartition(done.output, 2)
    assert len(parts.parts) == 2 and "2 parts" in str(parts)
    assert sum(jd.open_dataset(part).num_rows for part in parts.parts) == done.rows
    assert jd.repartition(done.output, undo=True).parts == ()
    assert jd.verify(done.output)
    assert capfd.readouterr() == ("", "")


def test_several_data_sets_become_one(ids, tmp_path):
    rows = jd.open_dataset(ids).num_rows
    first = jd.shuffle(ids, tmp_path / "a", num_block=1, cores=1, mem_gb=4)
    both = jd.shuffle([ids, first.output], tmp_path / "b", num_block=1, cores=1, mem_gb=4)
    assert both.rows == 2 * rows


def test_verify_is_true_of_sound_data_alone(ids, tmp_path):
    sound = jd.verify(ids, cores=1)
    assert sound and sound.findings == () and "nothing wrong" in str(sound)
    copy = jd.shuffle(ids, tmp_path / "copy", num_block=1, cores=1, mem_gb=4).output
    (file,) = copy.glob("*.parquet")
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    damaged = jd.verify(copy, cores=1)
    assert not damaged and damaged.total >= 1
    assert file.name in damaged.findings[0] and damaged.findings[0] in str(damaged)


def test_inspect_shows_and_holds_the_report(ids):
    seen = jd.inspect(ids)
    (report,) = seen.reports
    assert report.num_rows == jd.open_dataset(ids).num_rows
    assert f"{report.tally.ids:,}" in str(seen) and "Supervised share" in str(seen)
    assert seen._repr_html_().startswith("<iframe srcdoc=")
    step = jd.inspect(ids, step=1, global_batch_size=4, decode=True)
    assert step.reports == () and "step 1" in str(step) and "it is" in str(step)


@pytest.mark.parametrize(
    ("function", "arguments", "words"),
    [
        (jd.shuffle, {"output": ""}, "^output: expected a folder"),
        (jd.shuffle, {"output": "x", "num_block": 0}, "^num_block 0"),
        (jd.repartition, {"num_partition": 0}, "^num_partition 0"),
        (jd.repartition, {"num_parts": 2}, "did you mean num_partition"),
        (jd.verify, {"cores": 0}, "^cores 0"),
        (jd.inspect, {"sample": 2}, "^sample 2"),
        (jd.inspect, {"step": 1}, "^step: .* global_batch_size"),
        (jd.inspect, {"row": 3}, "^row is 3"),
    ],
)
def test_a_wrong_setting_is_named_as_a_keyword(ids, function, arguments, words):
    with pytest.raises(ValueError, match=words):
        function(ids, **arguments)


def test_what_is_no_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="nowhere: not a folder"):
        jd.verify(tmp_path / "nowhere")


def test_all_names_are_there_and_no_others():
    assert all(callable(getattr(jd, name)) for name in jd.__all__)
    assert set(jd.__all__) <= set(dir(jd))
    with pytest.raises(AttributeError, match="raw2id"):
        jd.raw2id  # noqa: B018
