"""`jllm.data.raw2ids`: the conversion as a function, and its result."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from jllm.data.convert.config import Raw2IdsConfig, check_config
from jllm.data.convert.convert import convert
from jllm.data.convert.convert_file import ConvertedFile
from jllm.data.convert.report import ConversionReport
from jllm.data.runtime.kept_report import PrintedReport, kept_progress
from jllm.data.runtime.keywords import accepts, config_of, keywords_in_errors


@dataclass(frozen=True, kw_only=True, repr=False)
class Conversion(PrintedReport):
    """The result of `raw2ids`; prints the record counts."""

    output: Path
    """The folder of the data set, for `open_dataset`."""
    files: tuple[ConvertedFile, ...]
    """The result for each input file."""

    @property
    def records(self) -> int:
        """The number of records read."""
        return sum(one.account.read for one in self.files)

    @property
    def written(self) -> int:
        """The number of records of which something was written."""
        return sum(one.account.written for one in self.files)

    @property
    def dropped(self) -> Counter[str]:
        """The number of dropped records, by reason."""
        return sum((one.account.dropped for one in self.files), Counter[str]())

    @property
    def rows(self) -> int:
        """The number of rows in the data set."""
        return sum(one.rows for one in self.files)

    @property
    def tokens(self) -> int:
        """The number of ids in the written documents."""
        return sum(one.account.tokens for one in self.files)

    @property
    def trained_tokens(self) -> int:
        """The number of these ids that training predicts."""
        return sum(one.account.trained_tokens for one in self.files)

    @property
    def fill(self) -> float:
        """Ids in the rows ÷ ids that would fit, in 0 … 1."""
        room = sum(one.rows * one.max_len for one in self.files)
        return sum(one.row_ids for one in self.files) / room if room else 0.0


@accepts(Raw2IdsConfig)
def raw2ids(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str] = "",
    *,
    tokenizer: str | os.PathLike[str],
    template_kwargs: str | Mapping[str, Any] = "{}",
    console: Console | None = None,
    **settings: Any,
) -> Conversion:
    """Convert raw text or chats to packed token ids, as `python -m jllm.raw2ids` does.

    `settings` are the flags of that command: `type`, `max_len`, `stack`, `cores`, …; its --help
    explains them. `template_kwargs` may be a dict. `console`: where progress is shown; None for no
    output.

    Raises ValueError that names the keyword, or the record's file and line; OSError for a full disk
    and the like. After an error, nothing appears under a final name.
    """
    if not isinstance(template_kwargs, str):
        try:
            template_kwargs = json.dumps(template_kwargs)
        except TypeError as error:
            raise ValueError(f"template_kwargs: {error}; expected what JSON can say") from None
    given = {"input": input, "output": output, "tokenizer": tokenizer}
    with keywords_in_errors(Raw2IdsConfig), kept_progress(console) as progress:
        config = config_of(Raw2IdsConfig, given | {"template_kwargs": template_kwargs} | settings)
        check_config(config)
        report = ConversionReport(progress)
        files = convert(config, report)
        report.close(files, str(config.output_folder))
    return Conversion(text=progress.text, output=config.output_folder, files=tuple(files))
