"""Refuse words that no file may hold: notes to oneself, registry hosts, local paths."""

import re

from structure.tree import File

REGISTRIES = "pypi|pythonhosted|npmjs|debian"
WORDS = {
    rf"\b(TO{''}DO|FIX{''}ME|XX{''}X)\b": "finish it, or open an issue",
    rf"\b({REGISTRIES})\.(org|com|net)\b": "registries are the user's setting",
    r"(?<![\w./$}~-])/(work|root|opt|home)/": "a path of one machine",
}


def check_words(files: list[File]) -> list[str]:
    """Return findings, one for each line with such a word."""
    return [
        f"{file.path}:{number}: {found.group().strip()!r}: {why}"
        for file in files
        for number, line in enumerate(file.text.splitlines(), 1)
        for pattern, why in WORDS.items()
        if (found := re.search(pattern, line))
    ]
