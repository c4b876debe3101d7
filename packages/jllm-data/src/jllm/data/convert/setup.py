"""Set up a conversion from its settings: the encoder of splits, and the key of the output."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from jllm.data.chat.encode_chats import ChatEncoder
from jllm.data.chat.encode_prompts import PromptEncoder
from jllm.data.chat.render_options import SWITCH, thinking_off
from jllm.data.chat.template import ChatTemplate
from jllm.data.convert.config import Raw2IdsConfig
from jllm.data.convert.encode_split import SplitEncoder
from jllm.data.format.kinds import Kind
from jllm.data.format.schema import FileMetadata
from jllm.data.packing import packer
from jllm.data.records import splits
from jllm.data.records.input_files import Source
from jllm.data.runtime.memory import gc_paused
from jllm.data.runtime.versions import code_digest, version_of
from jllm.data.storage.remote_path import Stamp
from jllm.data.tokenizer.encoder import make_encoder
from jllm.data.tokenizer.load import TextTokenizer, chat_template_digest

SETTINGS = (
    "max_len",
    "stack",
    "pad",
    "filter",
    "template_kwargs",
    "auto_no_thinking",
    "batch_size",
    "num_lines_per_partition",
    "chunk_size",
    "max_record_bytes",
    "compress",
    "on_error",
)
"""The settings that change the output. Resuming with --on_error skip after stop is still allowed,
because everything kept then had no error."""


@gc_paused()
def prepare_work(
    config: Raw2IdsConfig,
    kind: Kind,
    tokenizer: TextTokenizer,
    note: Callable[[str], None],
) -> tuple[SplitEncoder, FileMetadata]:
    """Return the encoder of input splits and the metadata of the files.

    Raises ValueError for an unusable tokenizer or template.
    """
    wanted = config.fast == "auto"
    encoder, why_slow = make_encoder(tokenizer, allow_fast=wanted, cached=True)
    if wanted and why_slow:
        note(f"tokenizers does all the work, more slowly: {why_slow}")
    chats: ChatEncoder | PromptEncoder | None = None
    template_digest = ""
    if kind != "pretrain":
        variables = _template_variables(config.template_kwargs)
        template = ChatTemplate(tokenizer=tokenizer, variables=variables)
        without = thinking_off(template) if config.auto_no_thinking else None
        stated = variables if without is None else {**variables, SWITCH: "auto"}
        template_digest = chat_template_digest(template.source, stated)
        chats = (
            PromptEncoder(template=template, encoder=encoder, max_len=config.max_len)
            if kind == "rl"
            else ChatEncoder(
                template=template,
                without_thinking=without,
                encoder=encoder,
                max_len=config.max_len,
                drop_untrained=config.filter,
            )
        )
        chats.probe()
    elif tokenizer.document_end_id is None:
        raise ValueError(
            f"--tokenizer {tokenizer.name} has no end-of-sequence token, so the end of a document "
            "cannot be written; set eos_token in tokenizer_config.json"
        )
    work = SplitEncoder(
        kind=kind,
        max_len=config.max_len,
        stack=config.stack,
        drop_untrained=config.filter,
        max_record_bytes=config.max_record_bytes,
        encoder=encoder,
        chats=chats,
    )
    metadata = FileMetadata(
        kind=kind,
        max_len=config.max_len,
        tokenizer_digest=tokenizer.digest,
        chat_template_digest=template_digest,
        special_tokens_digest=tokenizer.specials_digest,
        document_end_id=tokenizer.document_end_id,
    )
    return work, metadata


def conversion_key(
    config: Raw2IdsConfig,
    metadata: FileMetadata,
    sources: Sequence[Source],
    stamps: Mapping[Path, Stamp],
) -> dict[str, Any]:
    """Return all that the output depends on, by user-facing name; empty for input read once."""
    if any(source.size is None for source in sources):
        return {}
    key: dict[str, Any] = {"--type": metadata.kind}
    key |= {f"--{name}": getattr(config, name) for name in SETTINGS}
    key["the tokenizer"] = [metadata.tokenizer_digest, metadata.special_tokens_digest]
    key["the chat template"] = metadata.chat_template_digest
    key["the code of jllm.data"] = [code_digest()]
    for name in ("numpy", "pyarrow", "tokenizers", "transformers", "jinja2", "gigatoken"):
        key[f"the version of {name}"] = version_of(name)
    key["the size of input splits"] = [splits.SPLIT_BYTES, packer.WINDOW_IDS, packer.WINDOW_ROWS]
    key["the list of input files"] = [source.relative for source in sources]
    for source in sources:
        key[f"the input file {source.relative}"] = [
            *astuple(stamps[source.path]),
            source.path.stat().st_ctime_ns,
            str(source.path.resolve()),
        ]
    return key


def _template_variables(text: str) -> dict[str, object]:
    try:
        variables = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--template_kwargs {text}: {error}; expected a JSON object") from error
    if not isinstance(variables, dict):
        raise ValueError(f'--template_kwargs {text}: expected a JSON object, {{"name": value}}')
    return variables
