"""What a checkpoint keeps of a run with an adapter: that, the merged model, the base's name."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jllm.models.config import DecoderConfig
from jllm.models.lora.adapter_config import CONFIG, config_text
from jllm.models.lora.base import (
    BASE,
    Base,
    digest_of_pieces,
    piece_digests,
    read_base,
    write_base,
)
from jllm.models.lora.layers import LoraLinear
from jllm.models.lora.merge import MergedRows
from jllm.models.lora.settings import Lora
from jllm.models.stage import Stage
from jllm.parallel.checkpoint.group import Group, on_all, on_first
from jllm.parallel.checkpoint.state import read_state
from jllm.parallel.config import TrainConfig
from jllm.parallel.gradients import Rows
from jllm.parallel.inputs import Inputs
from jllm.parallel.lora import BESIDE

MODEL_CONFIGS = ("config.json", "generation_config.json")
"""Files that would make a directory a model's."""

TRAINED_TOO = Base(path="a model trained with it, which is kept merged alone", digest="")
"""Without --only_optimize_lora there is no model that the adapter could be added to."""


@dataclass(frozen=True, kw_only=True)
class SavedAdapter:
    """An adapter as checkpoints keep it."""

    lora: Lora
    model: DecoderConfig
    base: Base
    alone: bool
    """Without the merged model."""
    frozen: bool
    """The model is not trained."""

    @property
    def directory(self) -> str:
        """Folder of a checkpoint that it lies in."""
        return "" if self.alone else BESIDE

    @property
    def state(self) -> dict[str, Any]:
        """What the state of a run says of it."""
        return {"lora_base": asdict(self.base)}

    def files(self, model_files: Mapping[str, bytes]) -> dict[str, bytes]:
        """Gives a checkpoint's small files, those of the model and of the adapter."""
        left_out = MODEL_CONFIGS if self.alone else ()
        kept = {name: data for name, data in model_files.items() if name not in left_out}
        before = f"{self.directory}/" if self.directory else ""
        kept[before + CONFIG] = config_text(self.model, self.lora, self.base.path).encode()
        kept[before + BASE] = write_base(self.base)
        return kept


def saved_adapter(config: TrainConfig, inputs: Inputs, group: Group) -> SavedAdapter | None:
    """Gives what has to be saved of a run's adapter; None where there is none, or nothing is saved.

    Collective: the processes read the base's files, each its share, for their digest.

    Raises:
        ValueError: the run that is resumed, or --lora_adapter, had another base.
    """
    if inputs.lora is None:
        return None
    start = config.lora_adapter if not inputs.resume_dir else ""
    given = read_base(Path(start)) if start else None
    if not (config.checkpoint or config.output_dir or inputs.resume_dir or given):
        return None
    assert inputs.weights_dir is not None
    frozen = config.only_optimize_lora
    base = find_base(inputs.weights_dir, group) if frozen or given else TRAINED_TOO
    if given and given.digest != base.digest:
        raise ValueError(
            f"--lora_adapter {start}: not trained on the weights of {base.path}; that was "
            f"{given.path}; to use it with these nonetheless, remove {Path(start) / BASE}"
        )
    if inputs.resume_dir and config.only_optimize_lora:
        check_base(base, read_state(inputs.resume_dir))
    return SavedAdapter(
        lora=inputs.lora,
        model=inputs.model,
        base=base if frozen else TRAINED_TOO,
        alone=config.only_ckpt_lora,
        frozen=frozen,
    )


def find_base(directory: Path, group: Group) -> Base:
    """Gives path and digest of a model. Collective."""
    shares = on_all(group, lambda: piece_digests(directory, group.rank, group.size))
    digest = on_first(group, lambda: digest_of_pieces(shares))
    return Base(path=str(directory.resolve()), digest=digest)


def check_base(base: Base, before: Mapping[str, Any]) -> None:
    """Refuses another base than that of a state."""
    was = before["lora_base"]
    if was["digest"] != base.digest:
        raise ValueError(
            f"--model {base.path}: not the weights that the checkpoint's adapter was trained on "
            f"(digest {base.digest}, expected {was['digest']}): give {was['path']}"
        )


def merged_rows(stage: Stage, share: Mapping[str, Rows]) -> dict[str, MergedRows]:
    """Gives the adapted parameters of a stage, merged when they are written; rows as in `share`."""
    modules = ((f"{name}.weight", module) for name, module in stage.named_modules())
    return {
        name: MergedRows(module, share[name].start)
        for name, module in modules
        if isinstance(module, LoraLinear)
    }
