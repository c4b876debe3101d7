"""The tree keeps its own rules."""

import pytest

from structure import calls, documents, imports, layout, rooms, words
from structure.tree import File, read_files

RULES = [
    calls.check_devices,
    calls.check_forbidden,
    calls.check_handlers,
    documents.check_documents,
    imports.check_imports,
    layout.check_length,
    layout.check_names,
    layout.check_namespace,
    rooms.check_rooms,
    words.check_words,
]


@pytest.fixture(scope="module")
def files() -> list[File]:
    return read_files()


def test_the_tree_was_found(files):
    assert sum(file.package is not None for file in files) > 20


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_holds(rule, files):
    findings = rule(files)
    assert not findings, "\n" + "\n".join(findings)
