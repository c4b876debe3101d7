"""The balance of a run's experts: what each micro-batch gets, what a step has counted, its state.

Counts are whole numbers, added over all processes once a step: equal on every layout, to the last
one. What follows from them, the `global` scope's shares and the routers' bias, is equal with them.

Letters: M layers with experts, E experts of a layer.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.units import unit_layer
from jllm.models.costs.flops import trained_predictions
from jllm.models.decoder.head import Head
from jllm.models.decoder.prediction import Predictor
from jllm.models.decoder.stage import Stage
from jllm.models.experts.balance import BalanceLoss, BalanceTerms, moved_bias
from jllm.models.experts.moe import MoE
from jllm.models.families import read_json
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.distributed.mesh import Mesh
from jllm.parallel.feed.step_data import MicroBatch, StepData


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExpertFigures:
    """How a global step used the experts."""

    loads: Mapping[int, Sequence[int]]
    """Choices of each expert by tokens that count, by layer."""
    dropped: int
    """Choices that no expert took."""
    aux_loss: float
    """Auxiliary losses of all layers, added."""
    z_loss: float
    """Z-losses of all layers, added."""

    @property
    def imbalance(self) -> Mapping[int, float]:
        """The busiest expert's load ÷ the mean load, by layer; 1 is even."""
        return {n: max(loads) * len(loads) / max(sum(loads), 1) for n, loads in self.loads.items()}


class ExpertBalance:
    """The experts of one process's stage among those of the whole model."""

    def __init__(self, config: TrainConfig, model: DecoderConfig, stage: Stage, mesh: Mesh) -> None:
        """Find the stage's layers with experts, of a model that has some."""
        assert model.experts is not None
        self._layers, self._mesh = expert_layers(model), mesh
        self._per_token, self._count = model.experts.experts_per_token, model.experts.num_experts
        self._loss, self._bias_rate = balance_loss(config), config.router_bias_update_rate
        self._mixtures = {
            self._layers.index(layer): mixture for layer, mixture in _mixtures(model, stage)
        }
        self._before = torch.ones(len(self._layers), self._count, dtype=torch.int64)

    def terms(
        self, step: StepData, micro_batch: MicroBatch, device: torch.device
    ) -> BalanceTerms | None:
        """Return what the stage's layers balance a micro-batch with; None where it has none."""
        if not self._mixtures:
            return None
        lengths = torch.tensor(micro_batch.bounds).diff()
        counted_T = torch.tensor(micro_batch.counted).repeat_interleave(lengths)
        return BalanceTerms(
            loss=self._loss,
            counted_T=counted_T.to(device, non_blocking=True),
            length=step.length,
            tokens=step.counted_tokens,
            sequences=step.counted_rows,
        )

    def losses(self) -> list[float]:
        """Return the step's auxiliary losses of the model's M layers, then their z-losses; 0 for
        layers of other stages and, on each replica, its own share."""
        values = torch.zeros(2, len(self._layers), dtype=torch.float64)
        for slot, mixture in self._mixtures.items():
            values[:, slot] = mixture.tally.losses_2.cpu()
        return values.flatten().tolist()

    def end_step(self, losses: Sequence[float], counted_tokens: int) -> ExpertFigures:
        """End an optimizer step: adds up the counts of all processes, moves the routers' bias by
        them and keeps them for the next step. Collective.

        Args:
            losses: those of `losses`, added over all processes.
            counted_tokens: of the global step.
        """
        loads = torch.zeros_like(self._before)
        for slot, mixture in self._mixtures.items():
            loads[slot] = mixture.tally.loads_E.cpu()
            mixture.tally.begin()
        if self._mesh.world.group is not None:
            dist.all_reduce(loads, group=self._mesh.world.group)
        self._keep(loads)
        self._move_bias()
        chosen = counted_tokens * self._per_token * len(self._layers)
        return ExpertFigures(
            loads=dict(zip(self._layers, loads.tolist(), strict=True)),
            dropped=chosen - int(loads.sum()),
            aux_loss=sum(losses[: len(self._layers)]),
            z_loss=sum(losses[len(self._layers) :]),
        )

    def _keep(self, loads: torch.Tensor) -> None:
        self._before = loads
        for slot, mixture in self._mixtures.items():
            mixture.tally.before_E.copy_(loads[slot])

    def _move_bias(self) -> None:
        for mixture in self._mixtures.values() if self._bias_rate else ():
            bias_E = mixture.router_bias
            assert bias_E is not None  # balance_problems has looked
            bias_E.copy_(moved_bias(bias_E, mixture.tally.before_E, self._bias_rate))

    def state(self) -> dict[str, list[int]]:
        """Return what a checkpoint keeps: the loads of the last step by layer, the same on all
        processes."""
        loads = self._before.tolist()
        return {str(n): row for n, row in zip(self._layers, loads, strict=True)}

    def load(self, state: Mapping[str, Any] | None) -> None:
        """Go on from the `state` of a checkpoint; None, of one that has none, begins evenly.

        Raises:
            ValueError: it is that of another model.
        """
        if state is None:
            return
        rows = [state.get(str(layer), []) for layer in self._layers]
        if len(state) != len(rows) or any(len(row) != self._count for row in rows):
            raise ValueError(
                "trainer/state.json: expert_loads are not those of this model's layers and "
                "experts; resume another --tag"
            )
        self._keep(torch.tensor(rows, dtype=torch.int64))


def _mixtures(model: DecoderConfig, stage: Stage) -> Iterator[tuple[int, MoE]]:
    """Return the layers with experts of a stage that are trained, with their numbers."""
    for name, unit in stage.units.items():
        if isinstance(unit, MoE):
            yield unit_layer(int(name)), unit
        elif isinstance(unit, Head) and unit.prediction and trained_predictions(model):
            for number, module in enumerate(unit.prediction.layers, start=model.num_layers):
                assert isinstance(module, Predictor)
                if isinstance(module.mlp, MoE):
                    yield number, module.mlp


def expert_layers(model: DecoderConfig) -> tuple[int, ...]:
    """Return the layers that have experts, in order; those of multi-token prediction follow."""
    layers = range(model.num_layers + trained_predictions(model))
    return tuple(layer for layer in layers if model.mixture(layer))


def balance_problems(config: TrainConfig, model: DecoderConfig) -> list[str]:
    """Say which flags about experts do not fit the model, one a line, each with its mend."""
    experts = model.experts
    flags = ("aux_loss_alpha", "z_loss_alpha", "router_bias_update_rate")
    asked = [flag for flag in flags if getattr(config, flag)]
    if experts is None or not expert_layers(model):
        return [f"--{flag}: {config.model} has no experts; drop it" for flag in asked]
    if config.router_bias_update_rate and not experts.router_bias:
        return [
            f"--router_bias_update_rate: the routers of {config.model} have no bias, as those of "
            "DeepSeek-V3 do; balance its experts with --aux_loss_alpha"
        ]
    if experts.aux_loss_coef and not config.aux_loss_alpha and config.num_train_epochs:
        return [
            f"--aux_loss_alpha is missing: config.json of {config.model} asks for a loss that "
            f"balances the experts (output_router_logits, factor {experts.aux_loss_coef:g}); give "
            "the flag, or set output_router_logits to false there to train without"
        ]
    return []


def balance_note(config: TrainConfig, model: DecoderConfig) -> str:
    """Say that a DeepSeek configuration names a loss which the run does not add; or nothing."""
    named = read_json(Path(config.model) / "config.json").get("aux_loss_alpha")
    if not named or config.aux_loss_alpha or not expert_layers(model):
        return ""
    return (
        f"config.json names aux_loss_alpha {named}, which neither this run nor Transformers adds; "
        f"--aux_loss_alpha {named} does"
    )


def balance_loss(config: TrainConfig) -> BalanceLoss:
    """Return the losses that the flags ask for."""
    return BalanceLoss(
        alpha=config.aux_loss_alpha,
        scope=config.aux_loss_scope,
        z_alpha=config.z_loss_alpha,
        backward_scale=config.aux_loss_backward_scale,
    )
