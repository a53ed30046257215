"""Activations as expressions of ONNX's operators, where one operator is not what they are.

ONNX lacks some activations, and those that it has are of little use in float64: attributes are of float32 in any
file, and ONNX Runtime (seen with 1.32) has no such kernels of most. So they are written as what they are here:
their function is called with names of values in place of arrays, and what it does with them are the nodes.
"""

from collections.abc import Callable
from functools import partial
from math import inf, log
from typing import Any, TypeAlias

import numpy as np

from portable_nn.activations import ACTIVATIONS
from portable_nn.errors import NetworkError
from portable_nn.nodes import OPSET, Call
from portable_nn.operators import find
from portable_nn.operators.own import DOMAIN
from portable_nn.symbols import Symbol, Symbols

__all__ = ["expression_of"]

Expression: TypeAlias = Callable[..., str]
"""It takes a `Call`, the names of values, and parameters; it names what it makes."""


def _silu(call: Call, x: str, beta: Any = 1.0) -> str:
    scaled = x if np.all(np.asarray(beta) == 1) else call("Mul", x, beta)
    return call("Mul", x, call("Sigmoid", scaled))


def _softplus(call: Call, x: str, beta: float = 1.0, threshold: float = inf) -> str:
    scaled = x if beta == 1 else call("Mul", x, beta)
    y = call("Softplus", scaled)
    if beta != 1:
        y = call("Mul", y, 1 / beta)
    return y if threshold == inf else call("Where", call("Greater", scaled, threshold), x, y)


def _bounded(call: Call, x: str, low: float = -1.0, high: float = 1.0) -> str:
    return call("Clip", x, *("" if abs(bound) == inf else bound for bound in (low, high)))


def _learned_swish(call: Call, x: str, alpha: Any, beta: Any) -> str:
    gate = call("Mul", call("Sigmoid", call("Mul", x, alpha)), 1 - beta)
    return call("Mul", call("Add", gate, beta), x)


def _shrink(call: Call, x: str, width: float = 0.5) -> str:
    return call("Shrink", x, bias=width, lambd=width)


EXPRESSIONS: dict[str, Expression] = {
    "silu": _silu,
    "softplus": _softplus,
    "hard_sigmoid": lambda call, x, slope=1 / 6, offset=0.5: call("HardSigmoid", x, alpha=slope, beta=offset),
    "hard_tanh": _bounded,
    "clip": _bounded,
    "relu6": lambda call, x: _bounded(call, x, 0.0, 6.0),
    "step": lambda call, x: call("Where", call("GreaterOrEqual", x, 0.0), 1.0, 0.0),
    "threshold": lambda call, x, threshold, value: call("Where", call("Greater", x, threshold), x, value),
    "log_sigmoid": lambda call, x: call("Neg", call("Softplus", call("Neg", x))),
    "softmin": lambda call, x: call("Softmax", call("Neg", x), axis=-1),
    "softshrink": _shrink,
    "hardshrink": lambda call, x, width=0.5: call("Shrink", x, bias=0.0, lambd=width),
    "square": lambda call, x: call("Pow", x, 2.0),
    "log10": lambda call, x: call("Mul", call("Log", x), 1 / log(10)),
    "learned_swish": _learned_swish,
}
"""Activations that are few operators of ONNX, by their names here."""

OF_ARRAYS = {"learned_swish", "silu"}
"""Those of them whose parameters may be arrays."""

LACKING = {
    "float16": {"Celu"},
    "float64": {
        "Celu", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mean", "Mish", "PRelu", "Selu",
        "Shrink", "Softplus", "Softsign", "ThresholdedRelu",
    },
}  # fmt: skip
"""Operators that are not used in a dtype."""

FLOAT, FLOAT16 = 1, 10
"""The numbers of dtypes in ONNX."""

ALONG_AXES = {"glu", "sparsemax"}
"""Activations that take parts of an axis."""


def expression_of(operator: str, dtype: str) -> Expression | None:
    """The expression of an operator in a dtype, None where it is written as it is.

    Parameters
    ----------
    operator : str
        With its domain before it if that is not ONNX's own; that of this package has its activations.
    dtype : str

    Returns
    -------
    callable or None
        It takes a `Call`, the names of values, and parameters, and names what it makes.

    Raises
    ------
    NetworkError
        If there is none.

    Examples
    --------
    >>> from portable_nn.expressions import expression_of
    >>> from portable_nn.formats.onnx_nodes import Nodes
    >>> nodes = Nodes()
    >>> expression_of("HardSigmoid", "float64")(nodes.call, "x", alpha=0.2)
    'clip2'
    >>> [node.operator for node in nodes.made]
    ['Mul', 'Add', 'Clip']
    """
    domain, _, name = operator.rpartition(".")
    if domain != DOMAIN:
        lacks = operator in LACKING.get(dtype, ())
        return partial(_traced, find(operator, {"": OPSET}).function, dtype) if lacks else None
    if name in ALONG_AXES:
        raise NetworkError(f"the activation {name!r} has no counterpart in ONNX that is written")
    return partial(_activated, name, dtype)


def _activated(name: str, dtype: str, call: Call, x: str, **parameters: Any) -> str:
    of_numbers = not any(map(np.ndim, parameters.values()))
    if name in EXPRESSIONS and (of_numbers or name in OF_ARRAYS):
        return EXPRESSIONS[name](call, x, **parameters)
    return _traced(ACTIVATIONS[name], dtype, call, x, **parameters)


def _traced(
    function: Callable[..., Symbol], dtype: str, call: Call, *inputs: str | Any, **parameters: Any
) -> str:
    """The operators that a function of arrays is; of float16 in float32, as it is here."""
    xp = Symbols(call, "float32" if dtype == "float16" else dtype)
    operands = [xp.symbol(x) if isinstance(x, str) else x for x in inputs]
    parameters = {
        key: np.asarray(value, xp.dtype) if np.ndim(value) else value for key, value in parameters.items()
    }
    if dtype != "float16":
        return function(*operands, xp=xp, **parameters).name
    operands[0] = xp.made("Cast", operands[0], to=FLOAT)
    return xp.made("Cast", function(*operands, xp=xp, **parameters), to=FLOAT16).name
