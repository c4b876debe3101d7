"""The figures of a report as labels and texts, shared by terminal and page."""

from __future__ import annotations

from dataclasses import dataclass

from jllm.data.tools.inspect.histogram import Bin, doubling_bins, fill_bins, mean, quantile, share
from jllm.data.tools.inspect.report import Report

DIGITS = 12
"""Digits shown of a digest."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar of a histogram."""

    label: str
    count: int
    part: float
    """Share of the total count."""


def totals(report: Report) -> list[tuple[str, str]]:
    """Return a dozen lines about the data set: (name, value)."""
    tally = report.tally
    rows = [("kind", report.kind), ("max_len", f"{report.max_len:,} ids a row")]
    rows.append(("files", f"{report.files:,}, {_bytes(report.bytes)}"))
    rows.append(("rows", f"{report.num_rows:,} in {report.row_groups:,} row groups"))
    if report.sampled:
        part = f"{report.read_groups:,} of {report.row_groups:,} row groups"
        rows.append(("counted below", f"{tally.rows:,} rows, in {part}"))
    most = int(len(tally.row_documents) - 1)
    a_row = f"{mean(tally.row_documents):,.1f} a row, at most {most:,}"
    name = "documents and pieces" if report.kind == "pretrain" else "documents"
    rows.append((name, f"{tally.documents:,} ({a_row})"))
    rows.append(("ids", f"{tally.ids:,}"))
    trained = f"{tally.trained:,} ({share(tally.trained, tally.ids):.2%})"
    if report.kind != "rl":
        rows.append(("trained ids", trained))
    rows.append(("fill", f"{report.fill:.2%}"))
    digests = [("data", report.digest), ("tokenizer", report.tokenizer_digest)]
    if report.kind != "pretrain":
        digests.append(("template", report.chat_template_digest))
    rows += [(f"{name} digest", digest[:DIGITS] or "not stated") for name, digest in digests]
    return rows


def length_bars(report: Report) -> list[Bar]:
    """Return the bars of the document lengths."""
    bins = doubling_bins(report.tally.document_lengths)
    return _bars(bins, [_range(one) for one in bins])


def length_summary(report: Report) -> str:
    """Return the shortest, median, … longest document in a line."""
    counts = report.tally.document_lengths
    parts = (("shortest", 0.0), ("median", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("longest", 1.0))
    texts = [f"{name} {quantile(counts, part):,}" for name, part in parts]
    return f"{', '.join(texts)}, mean {mean(counts):,.1f}"


def fill_bars(report: Report) -> list[Bar]:
    """Return the bars of the rows' fill."""
    bins = fill_bins(report.tally.row_lengths, report.max_len)
    return _bars(bins, [f"{_range(one)} %" for one in bins])


def role_rows(report: Report) -> list[tuple[str, str, str, str, str]]:
    """Return for each role: name, ids, share of all ids, trained ids, share of its own ids."""
    total = sum(one.ids for one in report.roles)
    return [
        (
            one.role,
            f"{one.ids:,}",
            f"{share(one.ids, total):.2%}",
            f"{one.trained:,}",
            f"{share(one.trained, one.ids):.2%}",
        )
        for one in report.roles
    ]


def account_rows(report: Report) -> list[tuple[str, str]]:
    """Return the record counts: (what became of the records, how many)."""
    account = report.account
    if account is None:
        return []
    rows = [("read", f"{account.read:,}"), ("written", f"{account.written:,}")]
    for what, counts in (("dropped", account.dropped), ("truncated", account.truncated)):
        rows += [(f"{what}: {reason}", f"{count:,}") for reason, count in sorted(counts.items())]
    return rows


def _bars(bins: list[Bin], labels: list[str]) -> list[Bar]:
    total = sum(one.count for one in bins)
    return [
        Bar(label=label, count=one.count, part=share(one.count, total))
        for label, one in zip(labels, bins, strict=True)
    ]


def _range(one: Bin) -> str:
    return f"{one.first:,}" if one.first == one.last else f"{one.first:,}–{one.last:,}"


def _bytes(number: int) -> str:
    size, units = float(number), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:,.0f} B" if units[0] == "B" else f"{size:,.1f} {units[0]}"
