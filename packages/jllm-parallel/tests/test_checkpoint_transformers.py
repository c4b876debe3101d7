"""Transformers opens a checkpoint as it lies, and jllm loads what Transformers saved."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from checkpoint_helpers import STATE
from jllm.models.config.units import unit_count
from jllm.models.families import read_config
from jllm.models.weights.read import load_slices
from jllm.models.weights.slices import assert_cover, shapes
from jllm.models.weights.table import weight_table
from jllm.parallel.checkpoint.contents import CheckpointContents, Held, model_files
from jllm.parallel.checkpoint.group import SingleProcess
from jllm.parallel.checkpoint.save import save_checkpoint


def parameters_of(slices) -> dict[str, torch.Tensor]:
    """Return empty float32 parameters of the shapes that slices need."""
    ends: dict[str, list[int]] = {}
    for piece in slices:
        stops = [stop for _, stop in piece.here]
        known = ends.setdefault(piece.parameter, stops)
        ends[piece.parameter] = [max(pair) for pair in zip(known, stops, strict=True)]
    return {name: torch.full(shape, float("nan")) for name, shape in ends.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tied", [True, False])
def test_a_saved_llama_opens_in_transformers_with_equal_logits(tmp_path, dtype, tied) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=tied,
    )  # fmt: skip
    theirs = LlamaForCausalLM(config).to(dtype).eval()
    theirs.save_pretrained(tmp_path / "source")

    decoder = read_config(tmp_path / "source")
    slices = weight_table(decoder, range(unit_count(decoder)), for_saving=True)
    assert_cover(slices, shapes(slices))
    tensors = parameters_of(slices)
    load_slices(tmp_path / "source", slices, tensors)
    path = save_checkpoint(
        tmp_path / "checkpoints",
        CheckpointContents(
            step=1,
            shapes=shapes(slices),
            weights=Held(slices=slices, tensors=tensors, dtype=dtype),
            optimizer={"exp_avg": Held(slices=slices, tensors=tensors, dtype=torch.float32)},
            state={"step": 1, **STATE},
            files=model_files(tmp_path / "source", dtype),
        ),
        SingleProcess(),
        max_shard_bytes=8000,
    )
    ours, loading = AutoModelForCausalLM.from_pretrained(path, output_loading_info=True)
    assert not any(loading.values())
    assert ours.dtype == dtype
    ids = torch.arange(20)[None]
    with torch.no_grad():
        assert torch.equal(ours.eval()(ids).logits, theirs(ids).logits)
    assert all(
        torch.equal(tensor, load_file(tmp_path / "source" / "model.safetensors")[name])
        for file in path.glob("*.safetensors")
        for name, tensor in load_file(file).items()
    )
