"""The activations of this package as operators, for graphs of layers whose activations ONNX does not have."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from portable_nn._typing import Array, Namespace
from portable_nn.activations import ACTIVATIONS, ALONG_AXIS, PLAIN
from portable_nn.operators._common import Table
from portable_nn.operators.activating import plain
from portable_nn.operators.elementwise import identity

__all__ = ["DOMAIN", "OWN"]

DOMAIN = "portable_nn"


def parametrised(name: str) -> Callable[..., Array]:
    """An activation, with its parameters as attributes."""
    activation = ACTIVATIONS[name]

    @wraps(activation)
    def function(x: Array, *, xp: Namespace, **parameters: Any) -> Array:
        return activation(x, xp=xp, **parameters)

    if name in PLAIN:
        function.activation = name  # type: ignore[attr-defined]
    return function


OWN: Table = {
    f"{DOMAIN}.{name}": {1: plain(name) if name in ALONG_AXIS else parametrised(name)} for name in ACTIVATIONS
} | {f"{DOMAIN}.identity": {1: identity}}
"""By name."""
