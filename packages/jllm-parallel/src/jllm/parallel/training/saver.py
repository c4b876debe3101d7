"""Writing a run's checkpoints and final model, and filling a stage and its optimizer from them."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.decoder.initialize import initialize_
from jllm.models.decoder.load import load_stage
from jllm.models.decoder.stage import Stage
from jllm.models.lora.adapter_config import STEM
from jllm.models.lora.settings import Lora
from jllm.models.lora.table import adapter_table
from jllm.models.weights.read import load_slices
from jllm.models.weights.table import weight_table
from jllm.parallel.checkpoint.atomic import sync_directory
from jllm.parallel.checkpoint.contents import CheckpointContents, model_files
from jllm.parallel.checkpoint.group import Group, on_rank_zero
from jllm.parallel.checkpoint.load import has_state, load_states
from jllm.parallel.checkpoint.model_state import _own_rows, _valid, checkpoint_contents
from jllm.parallel.checkpoint.save import save_checkpoint
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.distributed.mesh import Mesh
from jllm.parallel.lora.adapter import adapter_folder
from jllm.parallel.lora.saved_adapter import SavedAdapter
from jllm.parallel.optimizer.gradient_shards import rows_of
from jllm.parallel.optimizer.sharded_adamw import ShardedAdamW
from jllm.parallel.training.inputs import Inputs
from jllm.parallel.training.trainer import Trainer

EXPERT_LOADS = "expert_loads"
"""Key of state.json: how often each expert was chosen in the last step, by layer."""


def load_or_initialize(
    stage: Stage, config: DecoderConfig, weights_dir: Path | None, seed: int
) -> None:
    """Fill a stage with weights: from a model directory, or random ones where it is None."""
    if weights_dir is None:
        initialize_(stage, config, seed)
    else:
        load_stage(stage, config, weights_dir)


def load_optimizer(
    optimizer: ShardedAdamW,
    stage: Stage,
    config: DecoderConfig,
    lora: Lora | None,
    checkpoint: Path,
) -> None:
    """Fill moments and master weights from a checkpoint made on any layout.

    `optimizer.load` has to follow.
    """
    table = weight_table(config, stage.unit_range)
    if lora:
        table += adapter_table(config, stage.unit_range, lora)
    slices = tuple(_own_rows(table, optimizer.rows))
    wanted: dict[str, Mapping[str, Tensor]] = {
        name: _valid(tensors, optimizer.rows) for name, tensors in optimizer.states().items()
    }
    kept = has_state(checkpoint, "master")
    if lora and not kept:  # a frozen float32 model's adapter
        masters = _valid(optimizer.masters, optimizer.rows)
        load_slices(adapter_folder(checkpoint), slices, masters, stem=STEM)
    elif kept or not optimizer.in_place:
        wanted["master"] = _valid(optimizer.masters, optimizer.rows)
    load_states(checkpoint, {name: (slices, tensors) for name, tensors in wanted.items()})


class Saver:
    """Writes this run's checkpoints and its final model, together with the other processes."""

    def __init__(
        self,
        config: TrainConfig,
        inputs: Inputs,
        run: Trainer,
        mesh: Mesh,
        group: Group,
        adapter: SavedAdapter | None = None,
    ) -> None:
        """Remember what to save, and the model directory's small files; `group` is of all."""
        self._adapter = adapter
        self._config, self._inputs, self._group = config, inputs, group
        stage, self._run = run.stage, run
        dtype = next(stage.parameters()).dtype
        files = model_files(inputs.model_dir, dtype) if group.rank == 0 else {}
        self._files = adapter.files(files) if adapter else files
        saved = {s.parameter for s in weight_table(inputs.model, stage.unit_range, for_saving=True)}
        if adapter:
            table = adapter_table(inputs.model, stage.unit_range, adapter.lora)
            saved |= {piece.parameter for piece in table}
        self._share = {
            name: rows_of(len(tensor), mesh.dp.size, mesh.dp.rank)
            for name, tensor in stage.tensors().items()
            if name in saved
        }

    def save(self, step: int) -> Path:
        """Save `<--checkpoint>/<step>` and return it.

        Raises:
            ValueError: the same on every process, if any of them cannot write.
        """
        keep = self._config.max_num_checkpoints
        only_model = self._config.only_ckpt_model
        return save_checkpoint(
            Path(self._config.checkpoint),
            self._contents(step, only_model=only_model),
            self._group,
            keep=None if keep == -1 else keep,
        )

    def write_model(self, directory: Path, step: int) -> None:
        """Write the model alone to `directory`, which appears at once when it is complete.

        Raises:
            ValueError: the same on every process, if any of them cannot write.
        """
        beside = directory.parent / f".tmp-{directory.name}"
        on_rank_zero(
            self._group, lambda: shutil.rmtree(beside, ignore_errors=True)
        )  # a killed run's
        made = save_checkpoint(beside, self._contents(step, only_model=True), self._group)
        on_rank_zero(self._group, lambda: _move(made, directory))

    def _contents(self, step: int, *, only_model: bool) -> CheckpointContents:
        state = self._inputs.state
        with_state = state is not None and not only_model
        balance = self._run.balance
        base = self._adapter.state if self._adapter else {}
        return checkpoint_contents(
            self._run.stage,
            self._run.optimizer if with_state else None,
            self._inputs.model,
            step=step,
            state=(
                {
                    **state,
                    **base,
                    "step": step,
                    **({EXPERT_LOADS: balance.state()} if balance else {}),
                }
                if state and with_state
                else None
            ),
            files=self._files,
            share=self._share,
            adapter=self._adapter,
        )


def _move(made: Path, directory: Path) -> None:
    """Rename a complete model directory and remove the folder it was made in."""
    made.rename(directory)
    sync_directory(directory.parent)
    shutil.rmtree(made.parent)
