"""A data set keeps its tokenizer: the files as they were given, in the folder `tokenizer/`."""

from __future__ import annotations

import shutil
from pathlib import Path

from jllm.data.tokenizer import TextTokenizer

TOKENIZER_FOLDER = "tokenizer"
VOCABULARY = "tokenizer.json"
TOKENIZER_FILES = (
    VOCABULARY,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
)
"""What is kept where it is given. A model's config.json too: Transformers chooses the class of a
tokenizer by its model_type."""


def keep_tokenizer(tokenizer: TextTokenizer, folder: Path) -> None:
    """Copy the tokenizer's files to `folder / TOKENIZER_FOLDER`.

    Loaded from there, it is the same. A vocabulary that was given in another form than
    tokenizer.json is written as one; a tokenizer that was given by its Hugging Face name is written
    as Transformers saves it. Raises OSError.
    """
    given, kept = Path(tokenizer.name).expanduser(), folder / TOKENIZER_FOLDER
    if not given.is_dir():
        tokenizer.hf.save_pretrained(kept)
        return
    kept.mkdir()
    for name in TOKENIZER_FILES:
        if (given / name).is_file():
            shutil.copyfile(given / name, kept / name)
    if not (kept / VOCABULARY).exists():
        tokenizer.hf.backend_tokenizer.save(str(kept / VOCABULARY))
