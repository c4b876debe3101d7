"""A tiny model directory with a tokenizer: one id for each byte, and three special tokens."""

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tiny_model_helpers import reference_model

TEMPLATE = (
    "{% for m in messages %}<user>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<model>{% endif %}"
)


def byte_tokenizer(template: str | None = None) -> PreTrainedTokenizerFast:
    """Return a tokenizer with an id for every byte, `<end>`, `<user>` and `<model>`."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({letter: n for n, letter in enumerate(letters)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(
        [AddedToken(text, special=True) for text in ("<end>", "<user>", "<model>")]
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>")
    tokenizer.chat_template = template
    return tokenizer


def write_chat_model(directory: Path, template: str | None = TEMPLATE) -> None:
    """Write a model of random weights and its tokenizer."""
    reference_model("llama", vocab_size=259, eos_token_id=256).save_pretrained(directory)
    byte_tokenizer(template).save_pretrained(directory)
