"""Convert a GGUF file to a Hugging Face model directory in float32.

Costs 4 bytes a parameter on disk and about twice that in memory: 15 s and 1.5 GiB for the 135 M
parameters of SmolLM2. Needs `torch`, `transformers` and `gguf`; uses no network.
"""

from pathlib import Path

import gguf
import numpy
import torch
from tokenizers import pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint


def convert_gguf(path: Path, out: Path) -> None:
    """Write the model and the tokenizer of the GGUF file `path` into the existing folder `out`.

    `out` then holds config.json, generation_config.json, model.safetensors, tokenizer.json,
    tokenizer_config.json and the chat template. Weights are dequantised to float32.
    """
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    _mend_pre_tokenizer(tokenizer, _field(path, "tokenizer.ggml.pre"))
    model = _load_model(path)
    _mend_config(model, tokenizer)
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def _load_model(path: Path) -> PreTrainedModel:
    """Return the dequantised model of a GGUF file.

    Does not use `from_pretrained(gguf_file=...)`: Transformers refuses to save its result, even if
    every weight is dequantised.
    """
    config = AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
    config.dtype = torch.float32
    model = AutoModelForCausalLM.from_config(config)
    weights = load_gguf_checkpoint(path, return_tensors=True, model_to_load=model)["tensors"]
    absent, unknown = model.load_state_dict(weights, strict=False)
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    if unknown or set(absent) - tied:
        raise ValueError(f"{path}: weights absent {absent}, unknown {unknown}")
    return model


def _field(path: Path, key: str) -> str:
    """Return one text field of a GGUF header, "" if it is absent."""
    field = gguf.GGUFReader(path).fields.get(key)
    return "" if field is None else str(field.contents())


def _mend_pre_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Restore the split of text before BPE, which Transformers does not read from GGUF.

    SmolLM's tokenizer was trained on single digits. Without this, two spaces before a number get
    other ids than the model was trained on.
    """
    if name == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )


def _mend_config(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Set the configs' special tokens from the tokenizer, and the norm's epsilon as a short float.

    GGUF keeps epsilon as float32; 9.999999747378752e-06 there was 1e-05 in the original config.
    """
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    for name, value in ids.items():
        setattr(model.config, name, value)
    model.generation_config = GenerationConfig(**ids)
    model.config.rms_norm_eps = float(str(numpy.float32(model.config.rms_norm_eps)))
    if hasattr(model.config, "_model_name_or_path"):
        del model.config._model_name_or_path
