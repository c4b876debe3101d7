"""What a run reports of its experts in the first step, against losses written out in loops."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from expert_helpers import BALANCED, CHOSEN, EXPERTS, LAYERS, balanced_run, expert_lines
from jllm.data.reading.dataset import open_dataset
from jllm.data.reading.reader import LaneReader
from jllm.models.config.units import unit_count
from jllm.models.decoder.initialize import initialize_
from jllm.models.decoder.stage import Stage
from jllm.models.experts.moe import MoE
from jllm.models.families import read_config
from jllm.models.layers.documents import Documents
from jllm.parallel.config.config import TrainConfig
from training_helpers import alone, changed

Row = tuple[list[int], list[Tensor]]
"""The positions that count, and the router's logits of each layer; fp32 [T, E]."""


def rows_of_first_step(config: TrainConfig) -> list[Row]:
    """Runs the fresh model on each row of the first global batch by itself."""
    model, rows = read_config(Path(config.model)), []
    stage = Stage(model, range(unit_count(model)))
    initialize_(stage, model, config.seed)
    logits: list[Tensor] = []
    for unit in stage.units.values():
        if isinstance(unit, MoE):
            router = unit.router.weight.detach().T
            unit.norm.register_forward_hook(
                lambda module, x, normed, router=router: logits.append(normed @ router)
            )
    size = config.global_batch_size
    data = open_dataset(Path(config.train_data))
    with LaneReader(data, seed=config.seed, global_batch_size=size, lanes=range(size)) as reader:
        batch = reader.read(0)
    for tokens, targets, bounds in zip(batch.tokens, batch.targets, batch.bounds, strict=True):
        logits.clear()
        with torch.no_grad():
            stage.logits(torch.from_numpy(tokens).long(), Documents.from_bounds(bounds.tolist()))
        documents = [range(a, b) for a, b in zip(bounds, bounds[1:], strict=False)]
        counted = [t for d in documents if any(targets[i] != -100 for i in d) for t in d]
        rows.append((counted, list(logits)))
    return rows


@pytest.mark.parametrize("name", BALANCED)
def test_losses_and_loads_are_those_written_out(name: str, tmp_path: Path) -> None:
    config = balanced_run(tmp_path, name)
    alone(changed(config, "c", max_steps=1))
    (line,) = expert_lines(tmp_path / "c")
    rows = rows_of_first_step(config)
    tokens = sum(len(counted) for counted, _ in rows)
    assert tokens < config.global_batch_size * 16  # some rows are not full
    auxiliary, z = 0.0, 0.0
    for number, layer in enumerate(LAYERS):
        loads = [0] * EXPERTS
        for counted, logits in rows:
            values = logits[number].double()
            scores = values.sigmoid() if name == "bias" else values.softmax(-1)
            shares = scores / scores.sum(-1, keepdim=True)
            mine = [scores[t].topk(CHOSEN).indices.tolist() for t in counted]
            for expert in range(EXPERTS):
                chosen = sum(expert in choice for choice in mine)
                loads[expert] += chosen
                used = 1 / EXPERTS if name == "global" else chosen / (CHOSEN * len(counted))
                mean = sum(float(shares[t, expert]) for t in counted) / len(counted)
                weight = len(counted) / tokens if name == "global" else 1 / len(rows)
                auxiliary += config.aux_loss_alpha * EXPERTS * used * mean * weight
            for t in counted:
                z += config.z_loss_alpha * math.log(sum(math.exp(x) for x in values[t])) ** 2
        assert line["expert_loads"][str(layer)] == loads
    assert line["aux_loss"] == pytest.approx(auxiliary, rel=1e-6)
    assert line["z_loss"] == pytest.approx(z / tokens, rel=1e-6)
