"""The balance of experts over a run: terms of each micro-batch, counts of each step, saved state.

Counts are integers, summed over all processes once per step, and so exactly equal on every layout.
The shares of the `global` scope and the routers' bias are derived from them, and so equal too.

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
    """The use of the experts in a global step."""

    loads: Mapping[int, Sequence[int]]
    """By layer, how often counted tokens chose each expert."""
    dropped: int
    """Choices that no expert took."""
    aux_loss: float
    """Sum of the auxiliary losses of all layers."""
    z_loss: float
    """Sum of the z-losses of all layers."""

    @property
    def imbalance(self) -> Mapping[int, float]:
        """By layer, the largest load of an expert divided by the mean load; 1 is even."""
        return {n: max(loads) * len(loads) / max(sum(loads), 1) for n, loads in self.loads.items()}


class ExpertBalance:
    """The balance of the experts in one process's stage."""

    def __init__(self, config: TrainConfig, model: DecoderConfig, stage: Stage, mesh: Mesh) -> None:
        """Find the stage's layers with experts, in a model that has some."""
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
        """Return the balance terms of a micro-batch; None where the stage has no experts."""
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
        """Return the step's auxiliary losses of the model's M layers, then their z-losses.

        Each replica has its own share of them; layers of other stages have 0.
        """
        values = torch.zeros(2, len(self._layers), dtype=torch.float64)
        for slot, mixture in self._mixtures.items():
            values[:, slot] = mixture.tally.losses_2.cpu()
        return values.flatten().tolist()

    def end_step(self, losses: Sequence[float], counted_tokens: int) -> ExpertFigures:
        """End an optimizer step. Collective.

        Sums the counts over all processes, moves the routers' bias accordingly, and keeps the
        counts for the next step. `losses` is the result of `losses` summed over all processes;
        `counted_tokens` is of the global step.
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
            assert bias_E is not None  # checked by balance_problems
            bias_E.copy_(moved_bias(bias_E, mixture.tally.before_E, self._bias_rate))

    def state(self) -> dict[str, list[int]]:
        """Return the state for a checkpoint: the last step's loads by layer, global."""
        loads = self._before.tolist()
        return {str(n): row for n, row in zip(self._layers, loads, strict=True)}

    def load(self, state: Mapping[str, Any] | None) -> None:
        """Restore the `state` of a checkpoint; None, where it has none, starts with even loads.

        Raises ValueError where the state belongs to another model.
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
    """Yield the trained layers with experts of a stage, with their numbers."""
    for name, unit in stage.units.items():
        if isinstance(unit, MoE):
            yield unit_layer(int(name)), unit
        elif isinstance(unit, Head) and unit.prediction and trained_predictions(model):
            for number, module in enumerate(unit.prediction.layers, start=model.num_layers):
                assert isinstance(module, Predictor)
                if isinstance(module.mlp, MoE):
                    yield number, module.mlp


def expert_layers(model: DecoderConfig) -> tuple[int, ...]:
    """Return the layers that have experts, in order; layers of multi-token prediction come last."""
    layers = range(model.num_layers + trained_predictions(model))
    return tuple(layer for layer in layers if model.mixture(layer))


def balance_problems(config: TrainConfig, model: DecoderConfig) -> list[str]:
    """Return one line per flag about experts that does not fit the model, with its remedy."""
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
    """Return a note where config.json names an auxiliary loss that the run does not add, or ""."""
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
