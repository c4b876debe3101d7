"""A byte-level tokenizer with a chat template, saved as a model's folder has it."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_tokenizer(folder: Path, merges: int, template: str = CHATML) -> Path:
    """Saves a byte-level tokenizer with two special tokens and so many merges, 300 ids at most."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=258 + merges, initial_alphabet=alphabet, show_progress=False,
        special_tokens=["<|im_start|>", "<|im_end|>"],
    )  # fmt: skip
    core.train_from_iterator(["what colour is the ball? the ball is red, and the sky"] * 3, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>")
    fast.chat_template = template
    fast.save_pretrained(folder)
    return folder
