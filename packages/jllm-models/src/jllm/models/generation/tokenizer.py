"""Text to ids and back, with the tokenizer of a model directory.

Only this module imports Transformers, the extra `jllm-models[generate]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class PromptTokenizer:
    """The tokenizer of a model directory."""

    hf: Any
    """The tokenizer of Transformers."""
    source: str
    """Name of the directory in messages."""

    @property
    def has_chat_template(self) -> bool:
        """Whether the directory has a chat template."""
        return bool(self.hf.chat_template)

    @property
    def end(self) -> int | None:
        """The end-of-sequence id."""
        return self.hf.eos_token_id

    def prompt_ids(self, text: str, *, chat: bool) -> list[int]:
        """Return the ids of a text; with `chat`, as a user's message with a generation prompt.

        Special tokens written in the text become these tokens, as in Transformers.
        """
        if not chat:
            ids = self.hf(text)["input_ids"]
        elif self.has_chat_template:
            said = [{"role": "user", "content": text}]
            ids = self.hf.apply_chat_template(said, add_generation_prompt=True, return_dict=False)
        else:
            raise ValueError(
                f"--chat: the tokenizer of {self.source} has no chat template; "
                "use --no_chat, or put chat_template.jinja there"
            )
        if not ids:
            raise ValueError("--prompt holds no token; give a text to go on from")
        return list(ids)

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of ids without special tokens."""
        return self.hf.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )


def load_tokenizer(model_dir: Path) -> PromptTokenizer:
    """Load the tokenizer of a directory, without running code from it.

    Raises ValueError where Transformers is not installed or finds no known tokenizer.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ValueError(
            f"text needs a tokenizer, and {error.name} is not installed: "
            "pip install 'jllm-models[generate]'"
        ) from error
    try:
        hf = AutoTokenizer.from_pretrained(
            model_dir, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError, KeyError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"--model {model_dir}: no tokenizer: {first}; tokenizer.json and "
            "tokenizer_config.json belong into the directory"
        ) from error
    return PromptTokenizer(hf=hf, source=str(model_dir))
