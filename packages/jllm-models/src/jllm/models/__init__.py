"""Model mathematics, the model families, and the table that names every weight.

`load(model_dir)` returns a whole model with its loss, its logits and text generation. It is
imported, and PyTorch with it, on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jllm.models.whole_model import load

__version__ = "0.1.0"
__all__ = ["load"]
_MODULES = {"load": "jllm.models.whole_model"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
