"""Runs that train an adapter of a tiny model."""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from jllm.parallel.config.config import TrainConfig
from training_helpers import write_data, write_model

STEPS = 20


def lora_config(folder: Path, **changes: object) -> TrainConfig:
    """Return a run of 20 steps that trains an adapter alone; the model is written to `folder`."""
    values: dict[str, object] = {
        "model": str(write_model(folder / "model")),
        "train_data": str(write_data(folder / "data", 61)),
        "num_train_epochs": 3,
        "max_steps": STEPS,
        "learning_rate": 1e-2,
        "checkpoint": str(folder / "whole"),
        "lora_dim": 4,
        "lora_alpha": 8.0,
        "only_optimize_lora": True,
        "threads": 1,
    }
    return TrainConfig(**(values | changes))  # type: ignore[arg-type]


def all_bytes(checkpoint: Path) -> dict[str, bytes]:
    """Return the contents of all tensor files and of the adapter's configuration."""
    files = [*checkpoint.rglob("*.safetensors"), *checkpoint.rglob("adapter_config.json")]
    return {str(f.relative_to(checkpoint)): f.read_bytes() for f in files}


def base_tensors(config: TrainConfig) -> dict[str, Tensor]:
    """Return the weights of the model that a run starts from."""
    return load_file(Path(config.model) / "model.safetensors")
