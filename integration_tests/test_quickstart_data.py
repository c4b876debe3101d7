"""The quickstart's data: what is read, what is held out, and in which formats it is written."""

import json

import pytest
from docstrings import Entry, read_module, read_standard_library
from prepare_data import answer, chat, document, is_held_out, prepare_data
from rich.console import Console

SOURCE = '''"""A module of two lines.

The second paragraph."""

class Shape(Base, metaclass=Meta):
    """A closed curve."""

    def area(self, unit="cm", *, exact=False):
        """Return the area."""

    def _hidden(self):
        """Not to be seen."""

if True:
    def outer():
        """Have a function inside."""
        def inner():
            """Not public."""
'''


@pytest.fixture(scope="module")
def entries():
    """The documentation of this Python."""
    return read_standard_library()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The four files."""
    folder = tmp_path_factory.mktemp("data")
    prepare_data(folder, Console(quiet=True))
    return folder


def test_public_documentation_is_found_with_signatures(tmp_path):
    (tmp_path / "shapes.py").write_text(SOURCE)
    found = {e.name: (e.kind, e.signature) for e in read_module(tmp_path / "shapes.py", tmp_path)}
    assert found == {
        "shapes": ("module", "import shapes"),
        "shapes.Shape": ("class", "class Shape(Base)"),
        "shapes.Shape.area": ("method", "area(unit='cm', *, exact=False)"),
        "shapes.outer": ("function", "outer()"),
    }


def test_names_and_texts_are_unique_and_sorted(entries):
    names, texts = [e.name for e in entries], [e.text for e in entries]
    assert names == sorted(set(names))
    assert len(texts) == len(set(texts))


def test_reading_again_gives_the_same(entries):
    assert read_standard_library() == entries


def test_about_one_name_in_forty_is_held_out(entries):
    share = sum(map(is_held_out, entries)) / len(entries)
    assert 0.015 < share < 0.035


def test_no_held_out_answer_is_in_the_training_files(entries, written):
    train, text = (written / "train.jsonl").read_text(), (written / "text.txt").read_text()
    for entry in filter(is_held_out, entries):
        if reply := answer(entry):
            assert json.dumps(reply, ensure_ascii=False) not in train
        assert f"\n\n{document(entry)}\n\n" not in text


def test_both_formats_of_chats_are_written(written):
    kinds = [type(json.loads(line)) for line in (written / "train.jsonl").open()]
    assert 0.2 < kinds.count(dict) / len(kinds) < 0.3
    assert kinds.count(dict) + kinds.count(list) == len(kinds)


def test_a_document_has_no_blank_line_inside(entries, written):
    for name in ("text.txt", "text_eval.txt"):
        for block in (written / name).read_text().rstrip("\n").split("\n\n"):
            assert block.strip("\n") == block and block.strip()
    longest = max(entries, key=lambda entry: len(entry.text))
    assert "\n\n" not in document(longest)


def test_an_answer_ends_with_a_whole_paragraph():
    text = "First paragraph of this text, short.\n\n" + "word " * 300
    entry = Entry(name="a.b", kind="function", signature="b()", text=text)
    assert answer(entry) == "`b()`\n\nFirst paragraph of this text, short."


def test_too_little_to_learn_gives_no_chat():
    assert chat(Entry(name="a.b", kind="function", signature="b()", text="Too short.")) is None
