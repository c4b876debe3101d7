"""Whole training steps against Transformers and torch, document by document."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup

from jllm.data.reading.dataset import open_dataset
from jllm.data.reading.reader import LaneReader
from jllm.parallel.config.config import TrainConfig
from training_helpers import alone, losses, metrics, write_data, write_model

STEPS, BATCH = 6, 4


def reference(model_dir: str, data: str) -> tuple[nn.Module, list[float], list[float]]:
    """Trains Transformers' model on one document at a time; gives it, losses and norms."""
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() < 2]
    adam = torch.optim.AdamW(
        [{"params": matrices}, {"params": others, "weight_decay": 0.0}],
        lr=1e-2,
        betas=(0.9, 0.95),
        weight_decay=0.1,
    )
    schedule = get_cosine_schedule_with_warmup(adam, 0, STEPS)
    reader = LaneReader(
        open_dataset(Path(data)), seed=1234, global_batch_size=BATCH, lanes=range(BATCH)
    )
    found, norms = [], []
    for step in range(STEPS):
        batch = reader.read(step)
        trained, total = int((batch.targets != -100).sum()), 0.0
        for tokens, targets, bounds in zip(batch.tokens, batch.targets, batch.bounds, strict=True):
            for a, b in zip(bounds, bounds[1:], strict=False):
                logits = model(torch.tensor(tokens[a:b])[None].long()).logits[0]
                wanted = torch.tensor(targets[a:b]).long()
                if (wanted != -100).any():
                    loss = nn.functional.cross_entropy(logits, wanted, reduction="sum") / trained
                    loss.backward()
                    total += loss.item()
        found.append(total)
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        adam.step()
        schedule.step()
        adam.zero_grad()
    return model, found, norms


@pytest.mark.parametrize("tied", [True, False])
def test_steps_equal_those_of_transformers_and_torch(tmp_path: Path, tied: bool) -> None:
    config = TrainConfig(
        model=str(write_model(tmp_path / "model", tied=tied)),
        train_data=str(write_data(tmp_path / "data", 40)),
        global_batch_size=BATCH,
        max_steps=STEPS,
        learning_rate=1e-2,
        weight_decay=0.1,
        checkpoint=str(tmp_path / "run"),
        threads=1,
    )
    alone(config)
    model, found, norms = reference(config.model, config.train_data)
    assert losses(tmp_path / "run") == pytest.approx(found, rel=1e-5)
    ours = [m["gradient_norm"] for m in metrics(tmp_path / "run")]
    assert ours == pytest.approx(norms, rel=1e-5)
    trained = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / str(STEPS))
    for (name, p), q in zip(model.named_parameters(), trained.parameters(), strict=True):
        # Adam divides by the root of tiny second moments, which magnifies rounding early on.
        assert torch.linalg.norm(p - q) / torch.linalg.norm(p) < 1e-4, name
