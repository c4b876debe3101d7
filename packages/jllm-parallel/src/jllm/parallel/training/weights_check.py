"""Weights that a run could not start from, found by their headers."""

from pathlib import Path

from jllm.models.decoder.load import check_weights
from jllm.models.weights.extra import refuse_extra
from jllm.models.weights.names import tensor_names
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.training.inputs import Inputs


def check_start(config: TrainConfig, inputs: Inputs) -> None:
    """Look at the files of the weights that the run starts from.

    Raises:
        ValueError: they are missing, cut short or another model's.
    """
    directory = inputs.weights_dir
    if directory is None:
        return
    try:
        check_weights(inputs.model, directory)
    except ValueError as error:
        if directory != Path(config.model) or tensor_names(directory) is not None:
            raise
        raise ValueError(f"--model {error}; to start from random weights, give --init") from None
    refuse_extra(inputs.model, directory)


def plain_sources(config: TrainConfig, inputs: Inputs) -> list[Path]:
    """Return the directories that weights are read from, beside the checkpoints."""
    adapter = Path(config.lora_adapter) if config.lora_adapter and not inputs.resume_dir else None
    directories = (inputs.weights_dir, adapter)
    return [path for path in directories if path and path not in inputs.checkpoints]
