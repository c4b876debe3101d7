"""The files of a checkpoint of a run with an adapter: adapter, merged model, name of the base."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.decoder.stage import Stage
from jllm.models.lora.adapter_config import CONFIG, config_text
from jllm.models.lora.base import (
    BASE,
    Base,
    write_base,
)
from jllm.models.lora.layers import LoraLinear
from jllm.models.lora.merge import MergedRows
from jllm.models.lora.settings import Lora
from jllm.parallel.lora.adapter import BESIDE
from jllm.parallel.optimizer.gradient_shards import ShardRows

MODEL_CONFIGS = ("config.json", "generation_config.json")
"""Files that would mark a directory as a model."""

TRAINED_TOO = Base(path="a model trained with it, which is kept merged alone", digest="")
"""Base without --only_optimize_lora: no unchanged model exists to which the adapter can be added.
"""


@dataclass(frozen=True, kw_only=True)
class SavedAdapter:
    """The adapter of a run, as its checkpoints hold it."""

    lora: Lora
    model: DecoderConfig
    base: Base
    alone: bool
    """Whether checkpoints hold the adapter without the merged model."""
    frozen: bool
    """Whether the model is not trained."""

    @property
    def directory(self) -> str:
        """Folder of the adapter in a checkpoint."""
        return "" if self.alone else BESIDE

    @property
    def state(self) -> dict[str, Any]:
        """Entries of the adapter in the saved state of a run."""
        return {"lora_base": asdict(self.base)}

    def files(self, model_files: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return a checkpoint's small files, those of the model and of the adapter."""
        left_out = MODEL_CONFIGS if self.alone else ()
        kept = {name: data for name, data in model_files.items() if name not in left_out}
        before = f"{self.directory}/" if self.directory else ""
        kept[before + CONFIG] = config_text(self.model, self.lora, self.base.path).encode()
        kept[before + BASE] = write_base(self.base)
        return kept


def merged_rows(stage: Stage, share: Mapping[str, ShardRows]) -> dict[str, MergedRows]:
    """Return the adapted parameters of a stage, merged as they are written; rows as in `share`."""
    modules = ((f"{name}.weight", module) for name, module in stage.named_modules())
    return {
        name: MergedRows(module, share[name].start)
        for name, module in modules
        if isinstance(module, LoraLinear)
    }
