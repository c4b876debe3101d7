"""A GGUF file becomes the very model and tokenizer that it was made from."""

import json

import gguf
import numpy
import pytest
import torch
from gguf_to_hf import convert_gguf
from transformers import AutoModelForCausalLM, AutoTokenizer

import flow_helpers as flow

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.layers": "blk",
}


def as_gguf_lays_it(name, tensor, config):
    """Rows of queries and keys in the order of llama.cpp: rotary pairs side by side."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for part, count in heads.items():
        if part in name:
            rows, columns = tensor.shape
            paired = tensor.reshape(count, 2, rows // count // 2, columns)
            return paired.swapaxes(1, 2).reshape(rows, columns)
    return tensor


def write_gguf(path, model, tokenizer):
    """Writes a float32 GGUF file of a tiny Llama as llama.cpp's converter would."""
    config, writer = model.config, gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    bpe = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = sorted(bpe["vocab"], key=bpe["vocab"].get)
    kinds = [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(tokens) - 3)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(merge) for merge in bpe["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_unk_token_id(tokenizer.unk_token_id)
    writer.add_chat_template(tokenizer.chat_template)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        array = as_gguf_lays_it(name, tensor.numpy(), config)
        for there, here in NAMES.items():
            name = name.replace(there, here)
        writer.add_tensor(name, numpy.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The original model and tokenizer, and the folder converted from their GGUF file."""
    folder = tmp_path_factory.mktemp("gguf")
    tokenizer = flow.make_tokenizer(folder / "original", ["What colour is the ball?  12 345"] * 4)
    model = flow.make_model(folder / "original", tokenizer)
    write_gguf(folder / "tiny.gguf", model, tokenizer)
    (folder / "out").mkdir()
    convert_gguf(folder / "tiny.gguf", folder / "out")
    return model, tokenizer, folder / "out"


def test_every_weight_is_the_same(converted):
    model, _, out = converted
    again = AutoModelForCausalLM.from_pretrained(out).state_dict()
    assert again.keys() == model.state_dict().keys()
    assert not [name for name, t in model.state_dict().items() if not torch.equal(t, again[name])]


def test_the_config_says_the_same(converted):
    model, tokenizer, out = converted
    config = AutoModelForCausalLM.from_pretrained(out).config
    for name in (
        "rms_norm_eps",
        "rope_parameters",
        "tie_word_embeddings",
        "eos_token_id",
        "vocab_size",
    ):
        assert getattr(config, name) == getattr(model.config, name)
    assert config.dtype == torch.float32
    assert config.pad_token_id == tokenizer.pad_token_id
    assert not hasattr(config, "quantization_config")


def test_chats_become_the_same_text(converted):
    _, tokenizer, out = converted
    chat = [{"role": "user", "content": "What colour is it?"}]
    again = AutoTokenizer.from_pretrained(out).apply_chat_template(chat, tokenize=False)
    assert again == tokenizer.apply_chat_template(chat, tokenize=False)


def test_digits_are_split_before_anything_else(converted):
    tokenizer = AutoTokenizer.from_pretrained(converted[2])
    assert tokenizer.tokenize("a  12") == [*tokenizer.tokenize("a  "), "1", "2"]
