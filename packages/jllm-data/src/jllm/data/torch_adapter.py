"""`jllm.data.torch_dataset`; torch is imported only when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jllm.data.batch_reader import Data

if TYPE_CHECKING:
    from jllm.data.torch_steps import StepDataset


def torch_dataset(
    dataset: Data,
    global_batch_size: int = 32,
    seed: int = 1,
    rank: int = 0,
    world_size: int = 1,
    *,
    start: int = 0,
    shuffle: bool = True,
    steps: int | None = None,
) -> StepDataset:
    """Return an IterableDataset of a run's batches, for `DataLoader(…, batch_size=None)`.

    The arguments are those of `BatchReader`. The order does not depend on `num_workers`. Raises
    ValueError that names a wrong argument, or where torch is not installed.
    """
    try:
        from jllm.data.torch_steps import StepDataset
    except ImportError as error:
        if error.name != "torch":
            raise
        raise ValueError("torch_dataset needs torch: pip install 'jllm-data[torch]'") from error
    return StepDataset(
        dataset,
        global_batch_size=global_batch_size,
        seed=seed,
        rank=rank,
        world_size=world_size,
        start=start,
        shuffle=shuffle,
        steps=steps,
    )
