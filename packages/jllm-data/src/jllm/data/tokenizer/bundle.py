"""The tokenizer of a data set, kept with it: the files as given, in the folder `tokenizer/`."""

from __future__ import annotations

import shutil
from pathlib import Path

from jllm.data.format.digests import file_digest
from jllm.data.format.file_names import (
    DIGESTS,
    STATED_TOKENIZER,
    TOKENIZER_FILES,
    TOKENIZER_FOLDER,
    VOCABULARY,
)
from jllm.data.format.sealed_json import sealed
from jllm.data.tokenizer.load import TextTokenizer


def keep_tokenizer(tokenizer: TextTokenizer, folder: Path) -> None:
    """Copy the tokenizer's files to `folder / TOKENIZER_FOLDER`.

    Loading it from there gives the same tokenizer. A vocabulary in another format than
    tokenizer.json is written as tokenizer.json; a tokenizer given by its Hugging Face name is
    written as Transformers saves it. Raises OSError.
    """
    given, kept = Path(tokenizer.name).expanduser(), folder / TOKENIZER_FOLDER
    if given.is_dir():
        kept.mkdir()
        for name in TOKENIZER_FILES:
            if (given / name).is_file():
                shutil.copyfile(given / name, kept / name)
        if not (kept / VOCABULARY).exists():
            tokenizer.hf.backend_tokenizer.save(str(kept / VOCABULARY))
    else:
        tokenizer.hf.save_pretrained(kept)
    (kept / DIGESTS).unlink(missing_ok=True)  # of the files kept before
    digests = {file.name: file_digest(file) for file in sorted(kept.iterdir())}
    digests[STATED_TOKENIZER] = tokenizer.digest
    (kept / DIGESTS).write_text(sealed(digests), encoding="utf-8")
