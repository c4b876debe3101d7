"""Raw text and chats to packed token ids, and a deterministic reader for them.

The names for use from Python, as in notebooks; each is imported on first use.

    raw2ids                                convert raw text or chats
    open_dataset, open_mixture             open what was converted
    BatchReader, torch_dataset             read a training run's batches
    shuffle, repartition, verify, inspect  work on whole data sets
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jllm.data.batch_reader import BatchReader
    from jllm.data.conversion import raw2ids
    from jllm.data.reading.dataset import open_dataset
    from jllm.data.reading.mixture import open_mixture
    from jllm.data.torch_adapter import torch_dataset
    from jllm.data.whole_sets import inspect, repartition, shuffle, verify

__version__ = "0.1.0"
__all__ = [
    "BatchReader",
    "inspect",
    "open_dataset",
    "open_mixture",
    "raw2ids",
    "repartition",
    "shuffle",
    "torch_dataset",
    "verify",
]
_MODULES = {
    "BatchReader": "jllm.data.batch_reader",
    "inspect": "jllm.data.whole_sets",
    "open_dataset": "jllm.data.reading.dataset",
    "open_mixture": "jllm.data.reading.mixture",
    "raw2ids": "jllm.data.conversion",
    "repartition": "jllm.data.whole_sets",
    "shuffle": "jllm.data.whole_sets",
    "torch_dataset": "jllm.data.torch_adapter",
    "verify": "jllm.data.whole_sets",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
