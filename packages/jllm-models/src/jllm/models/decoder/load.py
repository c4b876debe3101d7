"""Loading a stage from a model directory, reading only the bytes that it holds."""

from pathlib import Path

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.config.units import unit_count
from jllm.models.decoder.stage import Stage
from jllm.models.weights.read import check_slices, load_slices
from jllm.models.weights.table import weight_table


def check_weights(config: DecoderConfig, model_dir: Path) -> None:
    """Check the headers of a directory's files against the whole model.

    Raises ValueError for missing or truncated files, missing tensors and wrong shapes.
    """
    check_slices(model_dir, weight_table(config, range(unit_count(config))))


def load_stage(stage: Stage, config: DecoderConfig, model_dir: Path) -> None:
    """Load the stage's parameters and buffers in place, converting to their dtype.

    Raises ValueError for missing or truncated files, missing tensors and wrong shapes.
    """
    shared = stage.has_embedding and stage.has_head
    slices = weight_table(config, stage.unit_range, for_saving=shared)
    load_slices(model_dir, slices, stage.tensors())
