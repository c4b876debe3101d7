"""Make the quickstart's data: chats and plain text from Python's own documentation.

Writes four files and prints what is in them; costs about 3 s and 3 MB, and needs no network:
train.jsonl and eval.jsonl (chats: a question about a function, class or module, answered by its
documentation), text.txt and text_eval.txt (the same documentation as plain text, a blank line
between documents). One name in forty, chosen by a hash of the name, is held out: its documentation
is in the eval files only.
    python tools/quickstart/prepare_data.py --out quickstart_out/data
"""

import argparse
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from docstrings import Entry, read_standard_library
from rich.console import Console
from rich.table import Table

HELD_OUT_ONE_IN = 40
MESSAGES_FORMAT_ONE_IN = 4
FEWEST_WORDS = 6
LONGEST_ANSWER = 800
QUESTIONS = {
    "function": (
        "What does `{name}` do?",
        "How do I use `{name}` in Python?",
        "Explain the function `{short}` of the module `{parent}`.",
        "I found a call of `{name}` in a program. What is it for?",
    ),
    "method": (
        "What does the method `{name}` do?",
        "Explain `{short}` of `{parent}`.",
        "What happens when I call `{short}` on a `{parent}`?",
    ),
    "class": (
        "What is `{name}` in Python?",
        "What is the class `{short}` of `{parent}` for?",
        "When would I use `{name}`?",
    ),
    "module": (
        "What is the Python module `{name}` for?",
        "Describe the module `{name}` of the standard library.",
        "What can I do with `import {name}`?",
    ),
}


def choose(name: str, purpose: str, count: int) -> int:
    """Return a number in [0, count) that depends on `name` and `purpose` alone."""
    digest = hashlib.blake2b(f"{purpose}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % count


def is_held_out(entry: Entry) -> bool:
    """Return whether an entry belongs to the evaluation files."""
    return choose(entry.name, "held out", HELD_OUT_ONE_IN) == 0


def answer(entry: Entry) -> str:
    """Return the signature and as many paragraphs of the documentation as an answer may have.

    "" if the first paragraph alone is too long, or all of it is too short to teach anything.
    """
    kept: list[str] = []
    for paragraph in re.split(r"\n\s*\n", entry.text):
        if sum(map(len, kept)) + len(paragraph) > LONGEST_ANSWER:
            break
        kept.append(paragraph.rstrip())
    text = "\n\n".join(kept)
    return f"`{entry.signature}`\n\n{text}" if len(text.split()) >= FEWEST_WORDS else ""


def chat(entry: Entry) -> list | dict | None:
    """Return one chat about an entry, in one of the two formats, or None if there is none.

    Three in four are `[{"user": …}, {"assistant": …}]`, the others `{"messages": […]}`.
    """
    reply = answer(entry)
    if entry.kind not in QUESTIONS or not reply:
        return None
    parent, _, short = entry.name.rpartition(".")
    questions = QUESTIONS[entry.kind] if parent else QUESTIONS[entry.kind][:1]
    form = questions[choose(entry.name, "question", len(questions))]
    question = form.format(name=entry.name, parent=parent, short=short)
    if choose(entry.name, "format", MESSAGES_FORMAT_ONE_IN):
        return [{"user": question}, {"assistant": reply}]
    return {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": reply},
        ]
    }


def document(entry: Entry) -> str:
    """Return an entry as one document of a text file, without blank lines inside."""
    lines = [entry.name, entry.signature, *entry.text.splitlines()]
    return "\n".join(line.rstrip() for line in lines if line.strip())


def write_chats(path: Path, entries: Iterable[Entry]) -> tuple[int, int]:
    """Write the chats about `entries`, one a line; return their number and their characters."""
    chats = [json.dumps(made, ensure_ascii=False) for entry in entries if (made := chat(entry))]
    return _write(path, chats, separator="\n")


def write_text(path: Path, entries: Iterable[Entry]) -> tuple[int, int]:
    """Write `entries` as documents with a blank line between; return number and characters."""
    documents = [document(entry) for entry in entries if len(entry.text.split()) >= FEWEST_WORDS]
    return _write(path, documents, separator="\n\n")


def _write(path: Path, records: Sequence[str], separator: str) -> tuple[int, int]:
    """Write records to a temporary name, then rename."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(separator.join(records) + "\n", encoding="utf-8")
    os.replace(partial, path)
    return len(records), sum(map(len, records))


def prepare_data(out: Path, console: Console) -> None:
    """Write the four files into `out` and print a table of what they hold."""
    out.mkdir(parents=True, exist_ok=True)
    entries = read_standard_library()
    train = [entry for entry in entries if not is_held_out(entry)]
    held_out = [entry for entry in entries if is_held_out(entry)]
    table = Table("file", "records", "characters", title=f"documentation of Python, in {out}")
    for name, write, part in (
        ("train.jsonl", write_chats, train),
        ("eval.jsonl", write_chats, held_out),
        ("text.txt", write_text, train),
        ("text_eval.txt", write_text, held_out),
    ):
        records, characters = write(out / name, part)
        table.add_row(name, f"{records:,}", f"{characters:,}")
    console.print(table)


def main() -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder to write into")
    arguments = parser.parse_args()
    try:
        prepare_data(arguments.out, Console(soft_wrap=True, highlight=False))
    except (ValueError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", markup=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
