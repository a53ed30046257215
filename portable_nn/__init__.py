"""One neural-network forward pass, written once against the array API standard, run on whatever arrays come."""

from portable_nn import activations, backends, datasets
from portable_nn.errors import (
    BackendError,
    DataError,
    FormatError,
    InputError,
    NetworkError,
    PlacementError,
    PortableNNError,
    ShapeError,
)
from portable_nn.evaluation import Evaluation, evaluate
from portable_nn.formats import load, save
from portable_nn.inference import predict
from portable_nn.layers import Dense, Flatten, Rescaling
from portable_nn.network import Network

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "DataError",
    "Dense",
    "Evaluation",
    "Flatten",
    "FormatError",
    "InputError",
    "Network",
    "NetworkError",
    "PlacementError",
    "PortableNNError",
    "Rescaling",
    "ShapeError",
    "activations",
    "backends",
    "datasets",
    "evaluate",
    "load",
    "predict",
    "save",
]
