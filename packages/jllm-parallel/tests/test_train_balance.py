"""Balance of experts in whole runs of one process: what it does, reports, keeps and refuses."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from expert_helpers import (
    BALANCED,
    CHOSEN,
    DEEPSEEK_V3,
    EXPERTS,
    LAYERS,
    assert_close,
    balanced_run,
    biases,
    expert_lines,
    experts_config,
    write_experts,
)
from jllm.data.reading.reader import Batch
from jllm.models.config.units import unit_count
from jllm.models.decoder.stage import Stage
from jllm.models.families import read_config
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.distributed.mesh import Mesh
from jllm.parallel.experts.load_balance import ExpertBalance
from jllm.parallel.feed.feed import batch_sizes, counted_documents
from training_helpers import alone, changed, checkpoint_bytes, metrics, run_and_signal


@pytest.fixture(scope="module", params=BALANCED)
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    values = balanced_run(tmp_path_factory.mktemp(request.param), request.param)
    alone(values)
    return values


def test_metrics_hold_loads_and_losses(config: TrainConfig) -> None:
    lines = metrics(Path(config.checkpoint))
    assert len(lines) == 12
    for line in lines:
        loads = line["expert_loads"]
        assert [int(layer) for layer in loads] == list(LAYERS)
        assert all(len(row) == EXPERTS for row in loads.values())
        assert len({sum(row) for row in loads.values()}) == 1  # the counted tokens, each chosen
        assert 0 < sum(loads["1"]) < 8 * 16 * CHOSEN  # rows are not full
        assert line["expert_dropped"] == 0
        ratios = {n: max(row) * EXPERTS / sum(row) for n, row in loads.items()}
        assert line["expert_imbalance_by_layer"] == ratios
        assert line["expert_imbalance"] == max(ratios.values())
        assert line["aux_loss"] >= 0.9 * config.aux_loss_alpha * len(LAYERS)
        assert (line["z_loss"] > 0) == (config.z_loss_alpha > 0)
    first = lines[0]["aux_loss"]
    if config.aux_loss_scope == "global":
        assert first == pytest.approx(config.aux_loss_alpha * len(LAYERS), rel=1e-6)
    assert list((Path(config.checkpoint) / "tensorboard").iterdir())


def test_the_bias_follows_the_loads(config: TrainConfig) -> None:
    """Each expert's bias is Σ γ · sign(mean load − load) of the steps so far."""
    folder, rate = Path(config.checkpoint), config.router_bias_update_rate
    for step in (6, 12):
        for layer, bias in zip(LAYERS, biases(folder, step), strict=rate > 0):
            loads = [line["expert_loads"][str(layer)] for line in expert_lines(folder)[:step]]
            signs = [[np.sign(np.mean(row) - load) for load in row] for row in loads]
            assert bias.dtype == torch.float32
            assert bias.tolist() == pytest.approx((rate * np.sum(signs, axis=0)).tolist(), abs=1e-7)
            assert bias.any()


def test_resumed_it_is_the_same_run(config: TrainConfig) -> None:
    again = changed(config, "resumed", resume_ckpt=config.checkpoint, tag="6")
    alone(again)
    one, two = Path(config.checkpoint), Path(again.checkpoint)
    assert expert_lines(two) == expert_lines(one)[6:]
    assert checkpoint_bytes(two, 12) == checkpoint_bytes(one, 12)
    states = [json.loads((p / "12/trainer/state.json").read_text()) for p in (one, two)]
    assert states[0]["expert_loads"] == states[1]["expert_loads"]
    assert states[0]["expert_loads"] == expert_lines(one)[-1]["expert_loads"]


def test_going_on_after_a_kill_changes_nothing(config: TrainConfig) -> None:
    run = changed(config, "killed", steps_per_checkpoint=2)
    kept = Path(run.checkpoint)
    assert run_and_signal(run, 5) == -signal.SIGKILL
    assert (kept / "latest").exists()
    assert not (kept / "12").exists()
    alone(changed(run, "killed", resume_ckpt=run.checkpoint))
    assert expert_lines(kept) == expert_lines(Path(config.checkpoint))
    assert checkpoint_bytes(kept, 12) == checkpoint_bytes(Path(config.checkpoint), 12)


def test_loads_of_another_model_are_refused(config: TrainConfig) -> None:
    model = read_config(Path(config.model))
    balance = ExpertBalance(config, model, Stage(model, range(unit_count(model))), Mesh())
    whole = {"1": [3, 1, 0, 4], "2": [2, 2, 2, 2]}
    balance.load(whole)
    assert balance.state() == whole
    for wrong in ({"1": whole["1"]}, whole | {"2": [1, 2]}, whole | {"0": [2, 2, 2, 2]}):
        with pytest.raises(ValueError, match="expert_loads are not those of this model"):
            balance.load(wrong)


def test_micro_batches_change_rounding_alone(config: TrainConfig) -> None:
    other = changed(config, "rows", micro_batch_size=2)
    alone(other)
    assert_close(Path(config.checkpoint), Path(other.checkpoint))


def test_the_loss_evens_out_the_use_of_experts(tmp_path: Path) -> None:
    base = experts_config(
        tmp_path, num_train_epochs=8, max_steps=20, steps_per_print=10, learning_rate=1e-2
    )
    model = write_experts(tmp_path / "uneven", num_experts=8, num_experts_per_tok=1)
    last = {}
    for name, alpha in (("without", 0.0), ("with", 1.0)):
        run = changed(base, name, model=model, aux_loss_alpha=alpha)
        alone(run)
        lines = metrics(Path(run.checkpoint))
        assert [line["step"] for line in lines if "expert_loads" in line] == [10, 20]
        last[name] = np.mean([line["expert_imbalance"] for line in lines[-5:]])
    assert last["with"] < 1.9 < last["without"]


def test_documents_without_a_trained_target_do_not_count() -> None:
    targets = np.full((2, 10), -100, dtype=np.int32)
    targets[0, 3] = targets[0, 8] = 5
    batch = Batch(
        step=0,
        tokens=np.zeros_like(targets),
        targets=targets,
        bounds=[np.array(b, dtype=np.int32) for b in ([0, 2, 6, 9, 10], [0, 4, 10])],
    )
    counted = counted_documents(batch)
    assert [row.tolist() for row in counted] == [[False, True, True, False], [False, False]]
    assert batch_sizes(batch, counted) == (2, 7, 1)


@pytest.mark.parametrize(
    ("model", "flags", "message"),
    [
        ({}, {"router_bias_update_rate": 1e-3}, "--router_bias_update_rate: the routers .* bias"),
        ({"output_router_logits": True}, {}, "--aux_loss_alpha is missing: .* factor 0.001"),
        ({"num_experts": 4, "mlp_only_layers": [0, 1, 2]}, {"z_loss_alpha": 1.0}, "no experts"),
    ],
)
def test_flags_that_do_not_fit_the_model_are_refused(
    model: dict, flags: dict, message: str, tmp_path: Path
) -> None:
    made = write_experts(tmp_path / "other", **model)
    config = experts_config(tmp_path, **flags)
    with pytest.raises(ValueError, match=message):
        alone(changed(config, "c", model=made))


def test_a_model_that_asks_for_a_loss_trains_with_the_flag(tmp_path: Path) -> None:
    made = write_experts(tmp_path / "other", output_router_logits=True)
    config = experts_config(tmp_path, max_steps=1, aux_loss_alpha=0.01)
    alone(changed(config, "c", model=made))
    saved = json.loads((tmp_path / "c" / "1" / "config.json").read_text())
    assert saved["output_router_logits"] is True


def test_a_loss_that_deepseeks_configuration_names_is_not_left_out_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    made = tmp_path / "other"
    made.mkdir()
    (made / "config.json").write_text(json.dumps(DEEPSEEK_V3 | {"aux_loss_alpha": 0.001}))
    config = experts_config(tmp_path, model=str(made), dry_run=True)
    for alpha, told in ((0.0, True), (0.001, False)):
        alone(changed(config, "c", aux_loss_alpha=alpha))
        assert ("--aux_loss_alpha 0.001 does" in capsys.readouterr().err) == told
