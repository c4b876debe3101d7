"""Frequencies and angles are those of Transformers, also at the sizes of published models."""

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from jllm.models.families import decoder_config
from jllm.models.layers.documents import Documents
from jllm.models.layers.rotary import Rotary, rotary_tables, rotate
from tiny_model_helpers import SIZES

LENGTH = 6000
ROPES = {
    "llama2": {"rope_type": "default", "rope_theta": 10000.0},
    "llama3.1": {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    "qwen2.5 yarn": {
        "rope_type": "yarn",
        "rope_theta": 1000000.0,
        "factor": 4.0,
        "original_max_position_embeddings": 32768,
    },
    "yarn options": {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 16.0,
        "original_max_position_embeddings": 4096,
        "beta_fast": 20,
        "beta_slow": 2,
        "truncate": False,
        "mscale": 0.707,
        "mscale_all_dim": 1.1,
    },
    "yarn attention": {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": 2.0,
        "attention_factor": 1.3,
    },
    "yarn ratio": {
        "rope_type": "yarn",
        "rope_theta": 10000.0,
        "factor": None,
        "original_max_position_embeddings": 512,
    },
    "linear": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 3.0},
    "dynamic": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0},
}


@pytest.mark.parametrize("head_dim", [64, 128])
@pytest.mark.parametrize("name", ROPES)
def test_angles_equal_transformers(name, head_dim):
    values = {**SIZES, "head_dim": head_dim, "max_position_embeddings": 2048}
    values["rope_parameters"] = ROPES[name]
    reference = LlamaRotaryEmbedding(LlamaConfig(**values))
    positions = torch.arange(LENGTH)[None]
    their_cos, their_sin = reference(torch.zeros(1), positions)
    config = decoder_config({**values, "architectures": ["LlamaForCausalLM"]}, "config.json")
    documents = Documents.from_bounds([0, LENGTH])
    ours = rotary_tables(config.rope, head_dim, documents, torch.float32)
    for mine, theirs in ((ours.cos, their_cos), (ours.sin, their_sin)):
        # An angle of 6000 in fp32 is known to 5e-4.
        torch.testing.assert_close(mine[:, 0], theirs[0, :, : head_dim // 2], rtol=0, atol=1e-3)
        torch.testing.assert_close(mine[:99, 0], theirs[0, :99, : head_dim // 2])


def test_rotation_and_its_gradient_equal_transformers():
    x_TNK = torch.randn(11, 3, 8).requires_grad_()
    angles_TR = torch.randn(11, 4)
    rotary = Rotary(cos=angles_TR.cos()[:, None], sin=angles_TR.sin()[:, None])
    whole = torch.cat([angles_TR, angles_TR], dim=-1)
    theirs, _ = apply_rotary_pos_emb(x_TNK, x_TNK, whole.cos(), whole.sin(), unsqueeze_dim=1)
    upstream = torch.randn_like(theirs)
    (their_gradient,) = torch.autograd.grad(theirs, x_TNK, upstream)
    ours = rotate(x_TNK, rotary)
    (our_gradient,) = torch.autograd.grad(ours, x_TNK, upstream)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_gradient, their_gradient)


def test_dynamic_stretches_each_document_by_its_own_length():
    values = {**SIZES, "architectures": ["LlamaForCausalLM"]}
    values["rope_parameters"] = ROPES["dynamic"]
    rope = decoder_config(values, "config.json").rope
    packed = rotary_tables(rope, 8, Documents.from_bounds([0, 50, 60, 150]), torch.float32)
    for start, stop in ((0, 50), (50, 60), (60, 150)):
        alone = rotary_tables(rope, 8, Documents.from_bounds([0, stop - start]), torch.float32)
        assert torch.equal(packed.cos[start:stop], alone.cos)
        assert torch.equal(packed.sin[start:stop], alone.sin)
