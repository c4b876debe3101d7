"""Pipeline- and data-parallel training whose result does not depend on the layout.

`train(model=…, train_data=…, checkpoint=…)` does what `python -m jllm.train_pipe` does, in this
process. It is imported, and PyTorch with it, when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jllm.parallel.training.in_process import train

__version__ = "0.1.0"
__all__ = ["train"]
_MODULES = {"train": "jllm.parallel.training.in_process"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
