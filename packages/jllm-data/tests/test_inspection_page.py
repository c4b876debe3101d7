"""The page: well formed, nothing fetched or run, what is in the data escaped, the same figures."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from inspection_helpers import make_chats, printed
from jllm.data.reading.dataset import open_dataset
from jllm.data.tokenizer.load import load_tokenizer
from jllm.data.tools.inspect import summary
from jllm.data.tools.inspect.html_page import page, write_page
from jllm.data.tools.inspect.read_counts import read_account
from jllm.data.tools.inspect.report import Report, make_report
from jllm.data.tools.inspect.summary import Bar
from jllm.data.tools.inspect.svg import columns
from jllm.data.tools.inspect.token_text import TokenText

VOID = {"meta", "br", "line", "rect"}
FETCHING = {"script", "link", "img", "iframe", "object", "embed", "base", "form", "image", "use"}


class Page(HTMLParser):
    """The tags, and the text by the section's id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, list[str]] = {}
        self._section = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self._section = str(dict(attrs)["id"])
        if tag not in VOID or tag == "rect":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.sections.setdefault(self._section, []).append(data)

    def text(self, section: str) -> str:
        return " ".join(" ".join(self.sections[section]).split())


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = make_chats(tmp_path_factory.mktemp("chats"))
    text = TokenText(load_tokenizer(str(folder / "tokenizer")))
    return make_report(open_dataset(folder), text, account=read_account(folder), rows=99)


@pytest.fixture(scope="module")
def parsed(report: Report) -> Page:
    return Page(page(report, chars=0))


def test_every_tag_is_closed_and_nothing_is_fetched_or_run(report: Report, parsed: Page) -> None:
    assert parsed.open == []
    assert not FETCHING & {tag for tag, _ in parsed.tags}
    for tag, attributes in parsed.tags:
        names = set(attributes)
        assert not {name for name in names if name.startswith("on")}, tag
        assert not names & {"src", "href", "style", "xlink:href", "srcset"}, tag
    text = page(report)
    assert not re.search(r"https?:|url\(|@import|//\w", text.replace("parquet:", ""))
    policies = [a["content"] for t, a in parsed.tags if a.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_what_is_in_the_data_is_text_and_controls_are_shown(report: Report, parsed: Page) -> None:
    text = page(report, chars=0)
    assert "<script" not in text and "&lt;script&gt;alert(1)&lt;/script&gt; &amp;" in text
    assert "\x1b" not in text and "⟨U+001B⟩[31mred 中文" in text
    assert "<script>alert(1)</script> & ⟨U+001B⟩[31mred 中文" in "".join(parsed.sections["rows"])


def test_the_figures_are_those_of_the_report(report: Report, parsed: Page) -> None:
    for name, value in summary.totals(report):
        assert f"{name} {value}" in parsed.text("totals")
    for name, value in summary.account_rows(report):
        assert f"{name} {value}" in parsed.text("account")
    for cells in summary.role_rows(report):
        assert " ".join(cells) in parsed.text("roles")
    for section, bars in (("lengths", summary.length_bars(report)),
                          ("fill", summary.fill_bars(report))):  # fmt: skip
        assert sum(bar.count for bar in bars) > 0
        for bar in bars:
            told = f"{bar.label}: {bar.count:,} ({bar.part:.1%})"
            assert told in parsed.text(section)
            assert f"{bar.label} {bar.count:,} {bar.part:.1%}" in parsed.text(section)


def test_trained_text_is_marked_behind_the_border_of_its_document(report: Report) -> None:
    text = page(report, chars=0)
    assert "assistant\n<mark>two</mark><mark>&lt;|im_end|&gt;</mark>" in text
    borders = re.findall(r"<h4>data\.jsonl:(\d+) ", text)
    documents = [d for row in report.rows for d in row.documents]
    assert borders == [str(document.record) for document in documents]


def test_pictures_have_names_and_columns_as_high_as_their_counts(parsed: Page) -> None:
    pictures = [attributes for tag, attributes in parsed.tags if tag == "svg"]
    assert len(pictures) >= 4 and all(one["role"] == "img" for one in pictures)
    assert all(one["aria-label"] for one in pictures)
    counts = [1000, 250, 0, 500]
    bars = [Bar(label=str(n), count=n, part=n / 1750) for n in counts]
    drawn = Page(columns(bars, "n", "a"))
    heights = [float(str(a["height"])) for tag, a in drawn.tags if tag == "rect"]
    assert heights == pytest.approx([heights[0] * n / 1000 for n in counts], abs=0.06)


def test_the_page_is_written_whole_and_the_terminal_says_where(
    report: Report, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    text = printed(report.path, html=str(path), rows=1)
    assert text.endswith(f"written: {path}\n")
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(ValueError, match="is a folder"):
        write_page(report, tmp_path)
