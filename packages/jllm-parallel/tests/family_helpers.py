"""Trains a tiny model of any family from nothing, alone and in a pipeline."""

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from jllm.models.config.units import unit_count
from jllm.models.decoder.load import load_stage
from jllm.models.decoder.stage import Stage
from jllm.models.families import read_config
from jllm.models.layers.documents import Documents
from jllm.parallel.config.config import TrainConfig
from training_helpers import (
    VOCABULARY,
    alone,
    changed,
    checkpoint_bytes,
    losses,
    train,
    write_data,
)

STEPS = 20
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": VOCABULARY,
    "intermediate_size": 24,
    "initializer_range": 0.2,
}


def trained_alone(folder: Path, values: dict, **options: object) -> TrainConfig:
    """Runs STEPS steps of the model that SIZES and `values` describe in this process."""
    (folder / "model").mkdir()
    (folder / "model/config.json").write_text(json.dumps(SIZES | values))
    config = TrainConfig(
        model=str(folder / "model"),
        init=True,
        train_data=str(write_data(folder / "data", 61)),
        global_batch_size=4,
        num_train_epochs=2,
        max_steps=STEPS,
        learning_rate=1e-2,
        checkpoint=str(folder / "one"),
        threads=1,
        **options,  # type: ignore[arg-type]
    )
    alone(config)
    return config


def assert_same_bits_in_a_pipeline(config: TrainConfig) -> None:
    """Trains once more on two stages."""
    other = changed(config, "stages", pipe_parallel_size=2)
    train(2, other)
    one, two = Path(config.checkpoint), Path(other.checkpoint)
    assert len(losses(one)) == STEPS
    assert losses(two) == losses(one)
    assert sum(losses(one)[-5:]) < sum(losses(one)[:5])
    assert checkpoint_bytes(two, STEPS) == checkpoint_bytes(one, STEPS)


def assert_transformers_opens(config: TrainConfig) -> None:
    """What was trained alone has the same logits there as here."""
    saved = Path(config.checkpoint) / str(STEPS)
    theirs = AutoModelForCausalLM.from_pretrained(saved)
    decoder = read_config(saved)
    ours = Stage(decoder, range(unit_count(decoder)))
    load_stage(ours, decoder, saved)
    tokens = torch.arange(20) % VOCABULARY
    with torch.no_grad():
        expected = theirs(input_ids=tokens[None]).logits[0]
        found = ours.logits(tokens, Documents.from_bounds([0, 20]))
    assert (found - expected).norm() <= 1e-5 * expected.norm()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
