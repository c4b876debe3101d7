"""A whole job of one process: inputs, mesh, weights, the events in order, the end."""

import contextlib
import dataclasses
import functools
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import torch
from rich.console import Console

from jllm.models.costs.flops import flops_per_token, weight_gradient_flops
from jllm.models.decoder.stage import Stage
from jllm.models.lora.layers import attach_
from jllm.models.weights.verify import verify_read
from jllm.parallel.checkpoint.folder import open_checkpoint
from jllm.parallel.checkpoint.group import Group, ProcessGroup, SingleProcess, on_all, on_rank_zero
from jllm.parallel.checkpoint.state import read_state
from jllm.parallel.checkpoint.verify import verify
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.distributed import device as devices
from jllm.parallel.distributed import mesh as meshes
from jllm.parallel.distributed.launch import Launch
from jllm.parallel.lora.adapter import fill_adapter
from jllm.parallel.training.adapter_base import saved_adapter
from jllm.parallel.training.data_check import check_data
from jllm.parallel.training.events import events
from jllm.parallel.training.folders import check_folders, lock, log_folder
from jllm.parallel.training.inputs import Inputs, read_inputs
from jllm.parallel.training.metrics import Reporter, expert_metrics, prediction_metrics
from jllm.parallel.training.overview import boundaries, print_overview
from jllm.parallel.training.saver import EXPERT_LOADS, Saver, load_optimizer, load_or_initialize
from jllm.parallel.training.tokenizer_check import check_tokenizers
from jllm.parallel.training.trainer import Trainer
from jllm.parallel.training.weights_check import check_start, plain_sources


@dataclasses.dataclass(kw_only=True)
class JobResult:
    """What a job did."""

    steps: int
    """Optimizer steps of the run so far, those before a checkpoint was resumed among them."""
    ended: bool = True
    """Whether it came to the end; else a signal stopped it."""
    loss: float | None = None
    """Mean token loss of the last step; None where none was taken."""
    eval_loss: float | None = None
    """The last held-out loss; None without --eval_data."""
    checkpoint: Path | None = None
    """The last checkpoint that was saved."""


def run_job(config: TrainConfig, launch: Launch, console: Console | None = None) -> JobResult:
    """Do everything that `config` asks for, or as much as there is time for before SIGTERM.

    Args:
        config: what to do.
        launch: this process's place.
        console: where the first process reports; standard error if None.

    Raises:
        ValueError: an input is wrong.
        OSError: a file cannot be read or written.
    """
    inputs = read_inputs(config, launch.world_size)
    cuts = boundaries(config, inputs)
    if launch.rank == 0:
        print_overview(config, inputs, cuts, console)
    if config.dry_run:
        if launch.rank == 0:
            _check_names(config, inputs, console)
        return JobResult(steps=inputs.first_step)
    device = devices.select(config.device, launch.local_rank)
    devices.set_threads(config.threads, launch.local_world_size)
    with meshes.joined(launch, device, config.timeout):
        mesh = meshes.build(inputs.layout.stages, inputs.layout.replicas, device, config.timeout)
        with contextlib.ExitStack() as held:
            result = Job(config, inputs, mesh, cuts, device, held, console).run()
        meshes.leave(mesh)
    return result


class Job:
    """The parts of a running job that belong together."""

    def __init__(
        self,
        config: TrainConfig,
        inputs: Inputs,
        mesh: meshes.Mesh,
        cuts: tuple[int, ...],
        device: torch.device,
        held: contextlib.ExitStack,
        console: Console | None = None,
    ) -> None:
        """Build this process's stage and loads it. Collective.

        `held` closes the job's files and, of a job of one process, its threads.
        """
        self._config, self._inputs, self._mesh, self._device = config, inputs, mesh, device
        group: Group = ProcessGroup(mesh.world.group) if mesh.world.group else SingleProcess()
        on_rank_zero(group, lambda: _check_names(config, inputs, console))
        on_rank_zero(group, lambda: _lock(config, held))
        self._result = JobResult(steps=inputs.first_step)
        dtype = devices.dtype_of(inputs.dtype, device.type)
        with devices.naming_full_memory(device, "this process's part of the model"):
            stage = Stage(
                inputs.model,
                range(cuts[mesh.pp.rank], cuts[mesh.pp.rank + 1]),
                attention=config.attention,
                dtype=dtype,
                device=device,
                recompute_interval=config.checkpoint_grad_interval,
            )
        lora = inputs.lora
        if lora:
            attach_(stage, lora, freeze=config.only_optimize_lora)
        for path in inputs.checkpoints:
            on_all(group, functools.partial(verify, open_checkpoint(path), group.rank, group.size))
        for path in plain_sources(config, inputs):
            on_all(group, functools.partial(verify_read, path, group.rank, group.size))
        on_all(
            group, lambda: load_or_initialize(stage, inputs.model, inputs.weights_dir, config.seed)
        )
        if lora:
            on_all(
                group,
                lambda: fill_adapter(stage, lora, config, inputs.model, inputs.resume_dir),
            )
        adapter = saved_adapter(config, inputs, group)
        self._run = Trainer(config, inputs, mesh, stage, device)
        if mesh.world.size == 1:  # of several, the others may have ended
            held.callback(self._run.close)
        optimizer, resume_dir = self._run.optimizer, inputs.resume_dir
        if optimizer and resume_dir:
            on_all(group, lambda: load_optimizer(optimizer, stage, inputs.model, lora, resume_dir))
            optimizer.load(inputs.first_step)
            if balance := self._run.balance:
                on_all(group, lambda: balance.load(read_state(resume_dir).get(EXPERT_LOADS)))
        self._saver = Saver(config, inputs, self._run, mesh, group, adapter)
        self._reporter = None
        if mesh.world.rank == 0:
            self._reporter = Reporter(
                log_folder(config),
                first_step=inputs.first_step,
                total_steps=inputs.total_steps,
                console=console,
            )
            held.callback(self._reporter.close)
        self._peak = devices.peak_flops(device, dtype) * mesh.world.size
        self._stopping = False

    def run(self) -> JobResult:
        """Walk the events; a signal to stop lets the current step end and saves."""
        config, inputs = self._config, self._inputs
        plan = list(
            events(
                first=inputs.first_step,
                total=inputs.total_steps,
                evaluate_every=config.steps_per_eval,
                save_every=config.steps_per_checkpoint,
                evaluate=bool(config.eval_data),
                save=bool(config.checkpoint),
            )
        )
        self._run.follow(plan)
        restore = _on_signals(self._ask_to_stop)
        try:
            for event in plan:
                if event.kind == "evaluate":
                    self._evaluate(event.step)
                elif event.kind == "save":
                    self._save(event.step)
                elif self._train(event.step):
                    self._save_early(event.step + 1)
                    self._run.close()
                    return dataclasses.replace(self._result, ended=False)
            if config.output_dir:
                self._say(f"writing the model to {config.output_dir}")
                self._saver.write_model(Path(config.output_dir), inputs.total_steps)
            self._run.close()
            return self._result
        finally:
            restore()

    def _train(self, step: int) -> bool:
        start = time.perf_counter()
        figures = self._run.train_step(step, self._stopping)
        devices.synchronize(self._device)
        rate = figures.tokens / (time.perf_counter() - start)
        self._result.steps = step + 1
        if figures.trained_tokens:
            self._result.loss = figures.loss
        if self._reporter and not figures.trained_tokens:
            self._reporter.skipped(step + 1)
        elif self._reporter:
            shown = (step + 1) % self._config.steps_per_print == 0
            self._reporter.step(
                {
                    "step": step + 1,
                    "loss": figures.loss,
                    "learning_rate": figures.learning_rate,
                    "gradient_norm": figures.gradient_norm,
                    "tokens_per_second": rate,
                    "mfu": rate * self._flops(figures.mean_document_length) / self._peak,
                    "memory_bytes": devices.peak_memory(self._device),
                    **prediction_metrics(figures.prediction),
                    **expert_metrics(figures.experts, shown=shown),
                },
                shown=shown,
            )
        return figures.stop

    def _flops(self, mean_document_length: float) -> float:
        model, config = self._inputs.model, self._config
        flops = flops_per_token(model, mean_document_length)
        if self._inputs.lora and config.only_optimize_lora:
            flops -= weight_gradient_flops(model)
        return flops

    def _evaluate(self, step: int) -> None:
        loss, tokens = self._run.evaluate()
        self._result.eval_loss = loss
        if self._reporter:
            self._reporter.evaluation(step, loss, tokens)

    def _save(self, step: int) -> None:
        start = time.perf_counter()
        path = self._result.checkpoint = self._saver.save(step)
        self._say(f"saved {path} ({time.perf_counter() - start:.1f} s)")

    def _save_early(self, step: int) -> None:
        """End a run that was asked to stop."""
        config = self._config
        if not config.checkpoint or config.only_ckpt_model:
            self._say(f"stopped after step {step}, nothing saved that could be resumed")
            return
        self._save(step)
        self._say(f"stopped after step {step}: continue with --resume_ckpt {config.checkpoint}")

    def _say(self, text: str) -> None:
        if self._reporter:
            self._reporter.say(text)

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True


def _lock(config: TrainConfig, held: contextlib.ExitStack) -> None:
    folders = {log_folder(config).resolve()}
    if config.checkpoint:
        folders.add(Path(config.checkpoint).resolve())
    for folder in sorted(folders):
        held.enter_context(lock(folder))


def _check_names(config: TrainConfig, inputs: Inputs, console: Console | None) -> None:
    """Refuse folders that cannot be written, and data and weights of another model."""
    parts = [part for data in inputs.datasets.values() for part in data.parts]
    data = {f"the data set {p.path}": Path(str(p.path)) for p in parts if not p.is_remote}
    check_folders(config, {f"--model {config.model}": Path(config.model)} | data)
    check_tokenizers(config, inputs, console)
    check_data(config, inputs, console)
    check_start(config, inputs)


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> Callable[[], None]:
    """Handle SIGTERM and SIGINT; return what puts the old handlers back.

    Python lets the main thread alone do so; in another one nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    numbers = (signal.SIGTERM, signal.SIGINT)
    old = {number: signal.signal(number, handler) for number in numbers}

    def restore() -> None:
        for number, before in old.items():
            signal.signal(number, before)

    return restore
