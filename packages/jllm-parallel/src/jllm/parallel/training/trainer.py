"""One process's part of a run: its stage, optimizer, feed and pipeline, put together and stepped.

Everything collective happens in the order of `jllm.parallel.training.events`, the same on all
processes.
"""

import dataclasses
import itertools
from collections.abc import Iterator

import torch
import torch.distributed as dist

from jllm.data.reading.reader import LaneReader
from jllm.models.config.units import tied_parameters
from jllm.models.decoder.stage import Stage
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.distributed.mesh import Mesh
from jllm.parallel.experts.load_balance import ExpertBalance, ExpertFigures, expert_layers
from jllm.parallel.feed.feed import Feed, lanes
from jllm.parallel.feed.step_data import StepData, StepShape
from jllm.parallel.optimizer.learning_rate import learning_rate
from jllm.parallel.optimizer.sharded_adamw import ShardedAdamW
from jllm.parallel.pipeline.boundary import TensorSpec
from jllm.parallel.pipeline.executor import StepResult, run_step
from jllm.parallel.pipeline.module_stage import ModuleStage
from jllm.parallel.pipeline.transport import Transport
from jllm.parallel.schedule.check import check
from jllm.parallel.schedule.generators import GENERATORS, forward_only
from jllm.parallel.schedule.plan import RankPlan
from jllm.parallel.training.events import Event
from jllm.parallel.training.inputs import Inputs, rows_per_step
from jllm.parallel.training.multi_token_prediction import PredictionFigures, PredictionLosses
from jllm.parallel.training.training_stage import TrainingStage


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepMetrics:
    """What a training step gave."""

    loss: float
    """Mean token loss of the global batch, before the update."""
    gradient_norm: float
    learning_rate: float
    tokens: int
    """Positions of the global batch."""
    trained_tokens: int
    """Of these, the targets; with 0 the step was passed over and no weight changed."""
    mean_document_length: float
    """Positions of the document that a mean position of this replica lies in: Σ length² ÷ Σ
    length."""
    experts: ExpertFigures | None
    """How the experts were used; None for a model without any."""
    prediction: PredictionFigures | None
    """The losses of multi-token prediction; None where none is trained."""
    stop: bool
    """Some process was asked to stop after this step."""


class Trainer:
    """A process's share of training and evaluation."""

    def __init__(
        self, config: TrainConfig, inputs: Inputs, mesh: Mesh, stage: Stage, device: torch.device
    ) -> None:
        """Build optimizer, schedules and feed around a stage whose weights are there.
        Collective."""
        self.config, self.inputs, self.mesh, self.stage = config, inputs, mesh, stage
        self.device = device
        self.optimizer = self._make_optimizer() if inputs.total_steps else None
        self.balance = None
        if expert_layers(inputs.model):
            self.balance = ExpertBalance(config, inputs.model, stage, mesh)
        prediction = inputs.model.prediction
        self._prediction = None
        if prediction and prediction.loss_weight:
            self._prediction = PredictionLosses(inputs.model, stage)
        self._compute = TrainingStage(stage, device, self.balance)
        self._executed = ModuleStage(self._compute)
        self._plans = self._make_plans()
        self._transports = {n: self._transport(s) for n, s in inputs.shapes.items()}
        self._feed = Feed(
            self._readers(),
            mesh,
            shapes=inputs.shapes,
            vocabulary=inputs.model.vocab_size,
            tokens_to_last=self._prediction is not None,
            skip_untrained=config.skip_untrained_batches,
        )
        self._requests: Iterator[tuple[str, int]] = iter(())

    def _make_optimizer(self) -> ShardedAdamW:
        config = self.config
        trained = [(n, p) for n, p in self.stage.named_parameters() if p.requires_grad]
        frozen = self.inputs.lora is not None and config.only_optimize_lora
        return ShardedAdamW(
            trained,
            self.mesh,
            tied=None if frozen else tied_parameters(self.inputs.model),
            betas=(config.adam_beta1, config.adam_beta2),
            epsilon=config.adam_epsilon,
            weight_decay=config.weight_decay,
            max_norm=config.max_grad_norm,
        )

    def _make_plans(self) -> dict[str, RankPlan]:
        sizes, makers = self.inputs.layout, {"train": GENERATORS[self.config.schedule]}
        return {
            name: check(makers.get(name, forward_only)(sizes.stages, shape.micro_batches)).ranks[
                self.mesh.pp.rank
            ]
            for name, shape in self.inputs.shapes.items()
        }

    def _transport(self, shape: StepShape) -> Transport | None:
        if self.mesh.pp.group is None:
            return None
        dtype = next(self.stage.parameters()).dtype
        hidden = TensorSpec(shape=(shape.tokens, self.inputs.model.hidden_size), dtype=dtype)
        boundaries = [(hidden,)] * (self.mesh.pp.size - 1)
        return Transport(self.mesh.pp.group, boundaries, self.device)

    def _readers(self) -> dict[str, LaneReader] | None:
        if not self.mesh.first:
            return None
        sizes, readers = self.inputs.layout, {}
        for name, data in self.inputs.datasets.items():
            batch = rows_per_step(self.inputs.shapes[name], sizes)
            readers[name] = LaneReader(
                data,
                seed=self.config.seed,
                global_batch_size=batch,
                lanes=lanes(batch, sizes.replicas, self.mesh.dp.rank),
                shuffle=name == "train" and not self.config.no_shuf,
                keep_last=name == "eval",
            )
        return readers

    def follow(self, events: list[Event]) -> None:
        """Tell which steps will be asked for, in order, so that the feed can be one ahead."""
        self._requests = itertools.chain.from_iterable(map(self._data_of, events))
        self._request_next()

    def _data_of(self, event: Event) -> Iterator[tuple[str, int]]:
        if event.kind == "train":
            yield "train", event.step
        elif event.kind == "evaluate":
            yield from (("eval", step) for step in range(self._evaluation_steps()))

    def _evaluation_steps(self) -> int:
        rows = rows_per_step(self.inputs.shapes["eval"], self.inputs.layout)
        return -(-self.inputs.datasets["eval"].num_rows // rows)

    def _request_next(self) -> None:
        if request := next(self._requests, None):
            self._feed.request(*request)

    def _compute_next(self, name: str) -> StepData:
        """Run the next step's forward passes, and the backward passes when training.

        A training step without a trained token is not computed.
        """
        data = self._feed.get()
        self._request_next()
        if name == "train" and not data.trained_tokens:
            return data
        self._compute.load(data)
        self._run_plan(name)
        return data

    def _run_plan(self, name: str) -> StepResult:
        return run_step(self._plans[name], [self._executed], self._transports[name])

    def train_step(self, step: int, stop: bool = False) -> StepMetrics:
        """Take optimizer step `step`, counted from 0.

        Args:
            step: what the events list says.
            stop: this process was asked to stop; all learn of it.

        Raises:
            ValueError: the data are wrong, or the gradient is not finite.
        """
        assert self.optimizer is not None
        data = self._compute_next("train")
        rate = learning_rate(
            step,
            peak=self.config.learning_rate,
            total_steps=self.inputs.total_steps,
            warmup=self.config.num_warmup_steps,
            schedule=self.config.lr_scheduler_type,
        )
        if not data.trained_tokens:
            return self._skip_step(data, rate, stop)
        predicted = self._prediction.sums() if self._prediction else []
        balanced = self.balance.losses() if self.balance else []
        sums = [self._loss(), float(stop), *predicted, *balanced]
        norm, (loss, stops, *others) = self.optimizer.step(rate, sums)
        predicted, losses = others[: len(predicted)], others[len(predicted) :]
        experts = self.balance.end_step(losses, data.counted_tokens) if self.balance else None
        shape = self.inputs.shapes["train"]
        return StepMetrics(
            loss=loss / data.trained_tokens,
            gradient_norm=norm,
            learning_rate=rate,
            tokens=self.config.global_batch_size * shape.length,
            trained_tokens=data.trained_tokens,
            mean_document_length=mean_document_length(data),
            experts=experts,
            prediction=self._prediction.figures(predicted) if self._prediction else None,
            stop=stops > 0,
        )

    def _skip_step(self, data: StepData, rate: float, stop: bool) -> StepMetrics:
        """Pass over a step without a trained token: no weight, moment or router changes."""
        assert self.optimizer is not None
        self.optimizer.skip_step()
        stops = torch.tensor([float(stop)])
        if self.mesh.world.group is not None:
            dist.all_reduce(stops, group=self.mesh.world.group)
        return StepMetrics(
            loss=0.0,
            gradient_norm=0.0,
            learning_rate=rate,
            tokens=self.config.global_batch_size * self.inputs.shapes["train"].length,
            trained_tokens=0,
            mean_document_length=mean_document_length(data),
            experts=None,
            prediction=None,
            stop=bool(stops.item()),
        )

    def _loss(self) -> float:
        """Sum the micro-batches' losses in float64, in their order; 0 but on the last stage."""
        return float(sum(loss.item() for loss in self._compute.losses))

    def evaluate(self) -> tuple[float, int]:
        """Return the mean token loss over all rows of the held-out data, and their trained
        tokens."""
        loss, tokens = 0.0, 0
        for _ in range(self._evaluation_steps()):
            tokens += self._compute_next("eval").trained_tokens
            loss += self._loss()
        total = torch.tensor([loss], dtype=torch.float64)
        if self.mesh.world.group is not None:
            dist.all_reduce(total, group=self.mesh.world.group)
        if not tokens:
            raise ValueError("--eval_data: no row has a trained token")
        return total.item() / tokens, tokens

    def close(self) -> None:
        """End the feed; for a run that ended well."""
        self._feed.close()


def mean_document_length(data: StepData) -> float:
    """Return Σ length² ÷ Σ length over the documents of a step's micro-batches."""
    lengths = [
        b - a
        for micro in data.micro_batches
        for a, b in zip(micro.bounds, micro.bounds[1:], strict=False)
    ]
    return sum(n * n for n in lengths) / sum(lengths)
