"""Loading a checkpoint on any layout: every rank reads the bytes it needs and no others."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from jllm.models.weights.read import load_slices
from jllm.models.weights.slices import Slice
from jllm.parallel.checkpoint.contents import STATE_NAMES
from jllm.parallel.checkpoint.state import TRAINER


def has_state(checkpoint: Path, name: str) -> bool:
    """Say whether a checkpoint keeps a state in files of its own."""
    return any((checkpoint / TRAINER).glob(f"{name}*.safetensors"))


def load_states(
    checkpoint: Path, wanted: Mapping[str, tuple[Iterable[Slice], Mapping[str, Tensor]]]
) -> None:
    """Fill optimizer states, {state name: (slices, tensors)}, from a checkpoint directory.

    For a ZeRO shard take `slices.rows(...)` of the weight table. "master" is read from the model's
    own files where the checkpoint keeps none apart, because the model is float32. Weights alone
    are loaded by `load_slices(checkpoint, …)`: a checkpoint is a model directory. Raises
    ValueError for missing or damaged files, naming them.
    """
    for name, (slices, tensors) in wanted.items():
        assert name in STATE_NAMES, name
        if name == "master" and not has_state(checkpoint, name):
            load_slices(checkpoint, slices, tensors)
        else:
            load_slices(checkpoint / TRAINER, slices, tensors, stem=name)
