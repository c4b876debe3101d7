"""The model that a run's adapter is of: found, compared, and kept with it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jllm.models.lora.base import BASE, Base, digest_of_pieces, piece_digests, read_base
from jllm.models.weights.manifest import NAME as MANIFEST
from jllm.parallel.checkpoint.group import Group, on_all, on_rank_zero
from jllm.parallel.checkpoint.state import read_state
from jllm.parallel.config.config import TrainConfig
from jllm.parallel.lora.saved_adapter import TRAINED_TOO, SavedAdapter
from jllm.parallel.training.inputs import Inputs


def saved_adapter(config: TrainConfig, inputs: Inputs, group: Group) -> SavedAdapter | None:
    """Return what has to be saved of a run's adapter; None where there is none, or nothing is
    saved.

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
            f"{given.path}; to use it with these nonetheless, remove {_witnesses(Path(start))}"
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


def _witnesses(adapter: Path) -> str:
    """Return the files of an adapter that hold it to its base: BASE, and the manifest with it."""
    manifest = adapter / MANIFEST
    return f"{adapter / BASE}" + (f" and {manifest}" if manifest.exists() else "")


def find_base(directory: Path, group: Group) -> Base:
    """Return path and digest of a model. Collective."""
    shares = on_all(group, lambda: piece_digests(directory, group.rank, group.size))
    digest = on_rank_zero(group, lambda: digest_of_pieces(shares))
    return Base(path=str(directory.resolve()), digest=digest)


def check_base(base: Base, before: Mapping[str, Any]) -> None:
    """Refuse another base than that of a state."""
    was = before["lora_base"]
    if was["digest"] != base.digest:
        raise ValueError(
            f"--model {base.path}: not the weights that the checkpoint's adapter was trained on "
            f"(digest {base.digest}, expected {was['digest']}): give {was['path']}"
        )
