"""Activation functions, written once against the array API standard.

Each takes an array of any library and any real dtype, on any device, and gives an array of the same library,
device and shape. A floating dtype is kept; integers and booleans are promoted to the device's default float.
float16 and bfloat16 are computed in float32 and rounded once. Parameters are numbers, or arrays that broadcast
against `x`. A network, which has resolved the array's namespace, passes it as `xp`; `x` must then be floating.

None has a `where` on data that arithmetic could spare, and those that are smooth are written without a kink at 0,
where automatic differentiation would find a second derivative that is not theirs.

A new activation is one function in one of the files here, and its name in that file's `__all__`; tests say where
else it is named: in the types, in the documentation, beside an oracle.
"""

from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from math import inf
from typing import Any

from portable_nn._typing import Array
from portable_nn.activations import elementary, gates, normal, rectifiers, sigmoids, smooth, softmaxes
from portable_nn.activations.elementary import *  # noqa: F403
from portable_nn.activations.gates import *  # noqa: F403
from portable_nn.activations.normal import *  # noqa: F403
from portable_nn.activations.rectifiers import *  # noqa: F403
from portable_nn.activations.sigmoids import *  # noqa: F403
from portable_nn.activations.smooth import *  # noqa: F403
from portable_nn.activations.softmaxes import *  # noqa: F403

__all__ = []
__all__ += elementary.__all__
__all__ += rectifiers.__all__
__all__ += smooth.__all__
__all__ += sigmoids.__all__
__all__ += normal.__all__
__all__ += gates.__all__
__all__ += softmaxes.__all__

ACTIVATIONS: dict[str, Callable[..., Array]] = {name: globals()[name] for name in sorted(__all__)}

ALSO_CALLED = {"linear": "identity", "logistic": "sigmoid", "none": "identity", "swish": "silu"}
"""Names that others have for activations, for messages alone: there is one name for each."""

ALONG_AXIS = frozenset(softmaxes.__all__)
"""Activations that are not elementwise; `glu` halves the axis."""

BOUNDED_SOFTMAX = "bounded_softmax"
"""What rewriting makes of a softmax whose logits it has bounded; no user may promise that."""

ERFC_GATE = "erfc_gate"
"""What is left of a gelu between two products whose weights have the rest of it."""

FUNCTIONS = ACTIVATIONS | {BOUNDED_SOFTMAX: softmaxes.bounded_softmax, ERFC_GATE: gates.erfc_gate}


def parameters_of(name: str) -> dict[str, float | None]:
    """The parameters of an activation in order, with their defaults, None where a value must be given."""
    return {
        parameter.name: None if parameter.default is Parameter.empty else parameter.default
        for parameter in signature(ACTIVATIONS[name]).parameters.values()
        if parameter.kind is Parameter.KEYWORD_ONLY and parameter.name != "xp"
    }


PLAIN = tuple(name for name in ACTIVATIONS if name != "glu" and None not in parameters_of(name).values())
"""Activations that keep the shape and need no parameters: those of a Dense."""

_INCREASING: dict[str, Callable[..., bool]] = {
    **dict.fromkeys(
        ("identity", "sigmoid", "tanh", "selu", "softsign", "log_sigmoid", "tanhshrink", "exp", "exp10", "expm1"),
        lambda: True,
    ),
    **dict.fromkeys(("softmax", "log_softmax", BOUNDED_SOFTMAX), lambda: True),
    "leaky_relu": lambda negative_slope: negative_slope > 0,
    "prelu": lambda slope: slope > 0,
    "elu": lambda alpha: alpha > 0,
    "celu": lambda alpha: alpha > 0,
    "softplus": lambda beta, threshold: beta > 0 and threshold == inf,
    "squareplus": lambda b: b > 0,
}
_INTERVALS: dict[str, Callable[..., tuple[float, float]]] = {
    **dict.fromkeys(("step", "sigmoid", "hard_sigmoid", "sparse_sigmoid", "ndtr"), lambda **_: (0, 1)),
    **dict.fromkeys(("softmax", "softmin", "sparsemax"), lambda: (0, 1)),
    **dict.fromkeys(("tanh", "softsign", "erf", "sine", "cosine"), lambda: (-1, 1)),
    **dict.fromkeys(("clip", "hard_tanh"), lambda low, high: (low, high)),
    "relu6": lambda: (0, 6),
    "erfc": lambda: (0, 2),
}


def is_strictly_increasing(name: str, parameters: Mapping[str, Any]) -> bool:
    """Whether an activation keeps the order of one sample's values, so that labels need not compute it.

    Values of a parameter that differ from feature to feature do not.
    """
    return (
        name in _INCREASING and (given := _numbers(name, parameters)) is not None and _INCREASING[name](**given)
    )


def bounds(name: str, parameters: Mapping[str, Any]) -> tuple[float, float] | None:
    """The interval of an activation whose values cannot leave one, None of another."""
    given = _numbers(name, parameters) if name in _INTERVALS else None
    low, high = (-inf, inf) if given is None else _INTERVALS[name](**given)
    return (low, high) if -inf < low <= high < inf else None


def _numbers(name: str, parameters: Mapping[str, Any]) -> dict[str, float] | None:
    """All parameters of an activation, None where one is an array."""
    if name == BOUNDED_SOFTMAX:
        return {}
    values = parameters_of(name) | dict(parameters)
    return values if all(isinstance(value, float | int) for value in values.values()) else None


def __dir__() -> list[str]:
    return __all__
