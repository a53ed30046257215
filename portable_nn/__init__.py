"""One neural-network forward pass, written once against the array API standard, run on whatever arrays come."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from portable_nn.errors import (
    AccuracyError,
    BackendError,
    ClusterError,
    DataError,
    FormatError,
    InputError,
    InputWarning,
    NetworkError,
    OutputError,
    PlacementError,
    PortableNNError,
    ShapeError,
)

if TYPE_CHECKING:
    from portable_nn import activations, backends, datasets
    from portable_nn.comparison import Comparison, compare
    from portable_nn.evaluation import Evaluation, evaluate
    from portable_nn.explanation import Explanation, explain
    from portable_nn.formats import load, save
    from portable_nn.formats.keras import from_keras
    from portable_nn.formats.pytorch import from_torch
    from portable_nn.formats.sklearn import from_sklearn
    from portable_nn.inference import infer
    from portable_nn.layers import Activation, Dense, Flatten, Normalize, Rescaling
    from portable_nn.network import Network
    from portable_nn.verification import Verification

__version__ = "0.1.0"

__all__ = [
    "AccuracyError",
    "Activation",
    "BackendError",
    "ClusterError",
    "Comparison",
    "DataError",
    "Dense",
    "Evaluation",
    "Explanation",
    "Flatten",
    "FormatError",
    "InputError",
    "InputWarning",
    "Network",
    "NetworkError",
    "Normalize",
    "OutputError",
    "PlacementError",
    "PortableNNError",
    "Rescaling",
    "ShapeError",
    "Verification",
    "activations",
    "backends",
    "compare",
    "datasets",
    "evaluate",
    "explain",
    "from_keras",
    "from_sklearn",
    "from_torch",
    "infer",
    "load",
    "save",
]

_ON_FIRST_USE = {
    "Activation": "layers",
    "Comparison": "comparison",
    "Dense": "layers",
    "Evaluation": "evaluation",
    "Explanation": "explanation",
    "Flatten": "layers",
    "Network": "network",
    "Normalize": "layers",
    "Rescaling": "layers",
    "Verification": "verification",
    "activations": "activations",
    "backends": "backends",
    "compare": "comparison",
    "datasets": "datasets",
    "evaluate": "evaluation",
    "explain": "explanation",
    "from_keras": "formats.keras",
    "from_sklearn": "formats.sklearn",
    "from_torch": "formats.pytorch",
    "infer": "inference",
    "load": "formats",
    "save": "formats",
}
"""The module of each public name: to import the package alone takes next to no time."""


if not TYPE_CHECKING:  # pragma: no branch: type checkers would take any name for one that is here

    def __getattr__(name: str) -> Any:
        if name not in _ON_FIRST_USE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(f"{__name__}.{_ON_FIRST_USE[name]}")
        value = globals()[name] = module if name == _ON_FIRST_USE[name] else getattr(module, name)
        return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
