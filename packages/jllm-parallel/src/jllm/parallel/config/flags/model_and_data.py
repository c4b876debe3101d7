"""Flags: model and data."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelAndData:
    """Which model is trained, on what, and in which order."""

    model: str
    """Hugging Face model directory: config.json, and weights unless --init."""
    train_data: str = ""
    """Folder of token ids made by `python -m jllm.raw2ids` (or by Spark), or a raw file of chats or
    text (.jsonl, .txt, compressed, .parquet), which is converted first; or a mixture of several,
    a:0.7,b:0.3, by their shares of the rows."""
    eval_data: str = ""
    """Folder of held-out token ids, or a raw file; its loss is printed before, during and after the
    training."""
    max_len: int = 2049
    """Raw data: ids a row holds; a row gives max_len - 1 positions to train on."""
    cache_dir: str = ""
    """Raw data: folder for the converted rows. Default: beside the file."""
    init: bool = False
    """Start from random weights, a function of --seed and each tensor's name; only config.json is
    read."""
    seed: int = 1234
    """Seed of the data order and of --init."""
    skip_untrained_batches: bool = False
    """Pass over steps whose rows have no trained token: no weight changes, and they are counted.
    Otherwise such data are an error before the run."""
    no_shuf: bool = False
    """Take the rows in the order of the files."""
    allow_other_tokenizer: bool = False
    """Train although the data were made with another tokenizer than the model's."""
