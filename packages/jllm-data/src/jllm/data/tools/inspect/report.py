"""The report of a data set: all that is shown, in one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jllm.data.format.record_counts import RecordCounts
from jllm.data.reading.dataset import Dataset
from jllm.data.reading.row_decoder import TrainingRows
from jllm.data.tools.inspect.histogram import share
from jllm.data.tools.inspect.map_row_groups import map_groups
from jllm.data.tools.inspect.role_headers import find_turns
from jllm.data.tools.inspect.role_spans import Turns
from jllm.data.tools.inspect.row_view import ShownRow, show_rows, spread
from jllm.data.tools.inspect.statistics import Tally, tally_rows
from jllm.data.tools.inspect.token_text import TokenText


@dataclass(frozen=True, kw_only=True)
class RoleShare:
    """One role's share of the ids."""

    role: str
    ids: int
    trained: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """The report that `jllm.inspect_data DIR` shows."""

    path: str
    kind: str
    max_len: int
    num_rows: int
    files: int
    bytes: int
    row_groups: int
    read_groups: int
    """Number of row groups counted; with --sample fewer than there are."""
    digest: str
    tokenizer_digest: str
    chat_template_digest: str
    tally: Tally
    roles: tuple[RoleShare, ...]
    """Empty if the roles are unknown."""
    no_roles: str
    """Why the roles are unknown."""
    account: RecordCounts | None
    rows: tuple[ShownRow, ...]
    notes: tuple[str, ...]

    @property
    def fill(self) -> float:
        """Ids of documents ÷ capacity of the rows."""
        return share(self.tally.ids, self.tally.rows * self.max_len)

    @property
    def sampled(self) -> bool:
        """Whether only some row groups were counted."""
        return self.read_groups < self.row_groups


def make_report(
    dataset: Dataset,
    text: TokenText | None,
    *,
    account: RecordCounts | None = None,
    rows: int = 2,
    sample: float = 1.0,
    progress: Callable[[int], None] = lambda n: None,
) -> Report:
    """Count a data set, or `sample` (0 … 1] of its row groups, and show `rows` of its rows.

    `account` is the result of `read_account` for the same data set. `progress` is called with the
    number of rows of each counted row group. Every row group read is checked: raises ValueError,
    naming the damaged file.
    """
    turns, why = _turns(dataset, text)
    chosen = _sampled(len(dataset.row_groups), sample)
    tally = Tally()
    prompts = dataset.kind == "rl"

    def work(_: int, rows: TrainingRows) -> Tally:
        return tally_rows(rows, turns, prompts=prompts)

    for number, one in map_groups(dataset, work, chosen):
        tally += one
        progress(dataset.row_groups[number].rows)
    roles = () if turns is None else _shares(turns, tally)
    files = {group.file: group.stamp for group in dataset.row_groups}
    return Report(
        path=str(dataset.path),
        kind=dataset.kind,
        max_len=dataset.max_len,
        num_rows=dataset.num_rows,
        files=len(files),
        bytes=sum(stamp.size for stamp in files.values() if stamp),
        row_groups=len(dataset.row_groups),
        read_groups=len(chosen),
        digest=dataset.digest,
        tokenizer_digest=dataset.tokenizer_digest,
        chat_template_digest=dataset.chat_template_digest,
        tally=tally,
        roles=roles,
        no_roles=why,
        account=account,
        rows=tuple(show_rows(dataset, spread(dataset, rows), text)),
        notes=tuple(_notes(dataset, text, tally, roles)),
    )


def _turns(dataset: Dataset, text: TokenText | None) -> tuple[Turns | None, str]:
    if dataset.kind == "pretrain":
        return None, f"rows of kind {dataset.kind} have no roles"
    if text is None:
        return None, "no tokenizer: give --tokenizer DIR"
    try:
        return find_turns(text.tokenizer), ""
    except ValueError as why:
        return None, str(why)


def _sampled(groups: int, sample: float) -> list[int]:
    count = min(groups, max(1, round(groups * sample)))
    return [number * groups // count for number in range(count)]


def _shares(turns: Turns, tally: Tally) -> tuple[RoleShare, ...]:
    counts = zip(turns.names, tally.role_ids.tolist(), tally.role_trained.tolist(), strict=False)
    return tuple(RoleShare(role=role, ids=i, trained=t) for role, i, t in counts if i)


def _notes(
    dataset: Dataset, text: TokenText | None, tally: Tally, roles: tuple[RoleShare, ...]
) -> list[str]:
    notes = []
    stated = dataset.tokenizer_digest
    if text is None:
        notes.append("the data set keeps no tokenizer: ids are shown; --tokenizer DIR decodes them")
    elif stated and text.tokenizer.digest != stated:
        notes.append(
            f"the tokenizer {text.tokenizer.name} (digest {text.tokenizer.digest[:12]}) is not the "
            f"one that made the data ({stated[:12]}): texts below may be wrong"
        )
    outside = sum(one.trained for one in roles if "assistant" not in one.role)
    if outside:
        notes.append(f"{outside:,} trained ids lie outside the assistant's turns")
    if tally.untrained_documents and dataset.kind != "rl":
        notes.append(f"{tally.untrained_documents:,} documents have no trained id")
    return notes
