"""Operators on each value: arithmetic, comparisons, logic, and casts."""

import operator
from collections.abc import Callable
from functools import reduce
from operator import attrgetter
from typing import Any

from portable_nn._typing import Array, DType, Namespace
from portable_nn.activations import erf as error_function
from portable_nn.errors import NetworkError
from portable_nn.operators._common import Host, Table, View
from portable_nn.readers.onnx_tensors import DTYPES

__all__ = ["ELEMENTWISE", "cast", "divide", "identity"]

SIGNS: dict[str, Callable[..., Any]] = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul}
"""What starts sooner than a library's function of the same name."""

FLOATING = {"float16", "bfloat16", "float32", "float64"}


def of_standard(name: str) -> Callable[..., Array]:
    """The function of the array API standard of one array: what is called is `direct`, the rest a signature."""

    def function(x: Array, *, xp: Namespace) -> Array: ...

    function.direct = attrgetter(name)  # type: ignore[attr-defined]
    return function


def of_two(name: str) -> Callable[..., Array]:
    """The same of two arrays."""
    sign = SIGNS.get(name)

    def function(a: Array, b: Array, *, xp: Namespace) -> Array: ...

    function.direct = (lambda _: sign) if sign else attrgetter(name)  # type: ignore[attr-defined]
    return function


def folded(name: str) -> Callable[..., Array]:
    """A function of two arrays, taken of any number of them in order."""

    def function(x: Array, *others: Array, xp: Namespace) -> Array:
        return reduce(getattr(xp, name), others, x) if others else xp.astype(x, x.dtype)

    return function


def mean(x: Array, *others: Array, xp: Namespace) -> Array:
    """The mean of arrays, value by value."""
    return reduce(xp.add, others, x) / (1 + len(others))


def divide(a: Array, b: Array, *, xp: Namespace) -> Array:
    """The quotient, of integers rounded towards 0."""
    if not xp.isdtype(a.dtype, "integral"):
        return a / b
    if xp.isdtype(a.dtype, "unsigned integer"):
        return a // b
    return xp.sign(a) * xp.sign(b) * (xp.abs(a) // xp.abs(b))


def power(a: Array, b: Array, *, xp: Namespace) -> Array:
    """A power, of the dtype of the base."""
    if a.dtype == b.dtype:
        return a**b
    if xp.isdtype(a.dtype, "integral") and xp.isdtype(b.dtype, "real floating"):
        return xp.astype(xp.astype(a, b.dtype) ** b, a.dtype)
    return a ** xp.astype(b, a.dtype)


def modulo(a: Array, b: Array, *, xp: Namespace, fmod: int = 0) -> Array:
    """The remainder, with the sign of the divisor, or, as C's `fmod`, of the dividend."""
    if not fmod:
        return xp.remainder(a, b)
    return xp.sign(a) * xp.remainder(xp.abs(a), xp.abs(b))


def erf(x: Array, *, xp: Namespace) -> Array:
    """The error function."""
    return error_function(x, xp=xp)


def reciprocal(x: Array, *, xp: Namespace) -> Array:
    """One divided by each value."""
    return 1 / x


def is_infinite(x: Array, *, xp: Namespace, detect_negative: int = 1, detect_positive: int = 1) -> Array:
    """Whether a value is infinite, of the signs that are looked for."""
    found = xp.isinf(x)
    if not detect_negative:
        found = xp.logical_and(found, x > 0)
    return found if detect_positive else xp.logical_and(found, x < 0)


def shift(a: Array, b: Array, *, xp: Namespace, direction: str) -> Array:
    """Bits shifted to the LEFT or to the RIGHT."""
    return xp.bitwise_left_shift(a, b) if direction == "LEFT" else xp.bitwise_right_shift(a, b)


def where(condition: Array, a: Array, b: Array, *, xp: Namespace) -> Array:
    """One or the other, by a condition."""
    return xp.where(condition, a, b)


def clip_by_attributes(x: Array, *, xp: Namespace, min: float | None = None, max: float | None = None) -> View:  # noqa: A002
    """Values within bounds that are numbers."""
    return xp.clip(x, min, max)


def clip(x: Array, low: Array = None, high: Array = None, *, xp: Namespace) -> View:
    """Values within bounds; where these cross, the upper one holds."""
    if low is not None:
        x = xp.maximum(x, low)
    return x if high is None else xp.minimum(x, high)


def cast(
    x: Array, *, xp: Namespace, floating: DType, to: int, saturate: int = 1, round_mode: str = "up"
) -> Array:
    """Values in another dtype; every floating one is that of the computation."""
    name = DTYPES.get(to, "")
    if name in FLOATING:
        return xp.astype(x, floating)
    if name == "bool":
        return xp.astype(x, xp.bool)
    if name == "" or name == "str":
        raise NetworkError(f"Cast to type {to} of ONNX, which is not computed in")
    return xp.astype(x, integer(xp, name))


def cast_like(x: Array, target: Array, *, xp: Namespace, saturate: int = 1, round_mode: str = "up") -> Array:
    """Values in the dtype of another array."""
    return xp.astype(x, target.dtype)


def integer(xp: Namespace, name: str) -> DType:
    """The integer dtype of that name, the default one where the library has it not, as JAX without 64 bits."""
    info = xp.__array_namespace_info__()
    return info.dtypes(kind="integral").get(name) or info.default_dtypes()["integral"]


def identity(x: Array, *, xp: Namespace) -> View:
    """`x` itself."""
    return x


def dropout(
    x: Array, ratio: Array = None, training_mode: Host = None, *, xp: Namespace, outputs: int, seed: int = 0
) -> View:
    """`x` itself: nothing is dropped outside training. The mask that is left is true."""
    if training_mode is not None and training_mode:
        raise NetworkError("in training mode it is not computed")
    return (x, xp.ones_like(x, dtype=xp.bool)) if outputs > 1 else x


def dropout_by_attributes(x: Array, *, xp: Namespace, outputs: int, ratio: float = 0.5) -> View:
    """As `dropout`."""
    return dropout(x, xp=xp, outputs=outputs)


UNARY = {
    "Abs": (7, "abs"), "Neg": (7, "negative"), "Floor": (7, "floor"), "Ceil": (7, "ceil"), "Round": (11, "round"),
    "Sign": (9, "sign"), "Sqrt": (7, "sqrt"), "Exp": (7, "exp"), "Log": (7, "log"), "Sin": (7, "sin"),
    "Cos": (7, "cos"), "Tan": (7, "tan"), "Asin": (7, "asin"), "Acos": (7, "acos"), "Atan": (7, "atan"),
    "Sinh": (9, "sinh"), "Cosh": (9, "cosh"), "Asinh": (9, "asinh"), "Acosh": (9, "acosh"), "Atanh": (9, "atanh"),
    "IsNaN": (9, "isnan"), "Not": (7, "logical_not"), "BitwiseNot": (18, "bitwise_invert"),
}  # fmt: skip

BINARY = {
    "Add": (7, "add"), "Sub": (7, "subtract"), "Mul": (7, "multiply"), "Equal": (7, "equal"),
    "Greater": (7, "greater"), "GreaterOrEqual": (12, "greater_equal"), "Less": (7, "less"),
    "LessOrEqual": (12, "less_equal"), "And": (7, "logical_and"), "Or": (7, "logical_or"),
    "Xor": (7, "logical_xor"), "BitwiseAnd": (18, "bitwise_and"), "BitwiseOr": (18, "bitwise_or"),
    "BitwiseXor": (18, "bitwise_xor"),
}  # fmt: skip

ELEMENTWISE: Table = {
    **{name: {since: of_standard(function)} for name, (since, function) in UNARY.items()},
    **{name: {since: of_two(function)} for name, (since, function) in BINARY.items()},
    "Sum": {7: folded("add")},
    "Max": {7: folded("maximum")},
    "Min": {7: folded("minimum")},
    "Mean": {7: mean},
    "Div": {7: divide},
    "Pow": {7: power},
    "Mod": {10: modulo},
    "Erf": {9: erf},
    "Reciprocal": {7: reciprocal},
    "IsInf": {10: is_infinite},
    "BitShift": {11: shift},
    "Where": {9: where},
    "Clip": {7: clip_by_attributes, 11: clip},
    "Cast": {7: cast},
    "CastLike": {15: cast_like},
    "Identity": {7: identity},
    "Dropout": {7: dropout_by_attributes, 12: dropout},
}
"""By name, and by the opset from which on they are so."""
