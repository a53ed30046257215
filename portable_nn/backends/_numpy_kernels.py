"""Activations of NumPy arrays in as few calls as may be, which overwrite their argument.

A kernel is made once, of the activation's parameters, and run on many arrays. It rounds its argument once more,
as a product before it has done already, where the function of `portable_nn.activations` keeps all digits; or that
product, of weights that were multiplied by the kernel's factor, has done so for it.
"""

import sys
from collections.abc import Callable
from functools import cache, partial
from math import inf, log
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.lib.introspect import opt_func_info

from portable_nn._typing import Array
from portable_nn.activations.gates import CUBIC, LINEAR
from portable_nn.activations.rectifiers import SELU_ALPHA, SELU_SCALE
from portable_nn.backends._base import Forward

Number: TypeAlias = Callable[[Any], Array]
"""Makes a number an array without axes, and of one value a feature what stands beside rows: NumPy starts on an
array without axes in 0.3 µs, on a number of Python in 0.6."""

Zeros: TypeAlias = Callable[[Array], Array]
"""Makes zeros like an array: NumPy's maximum of an array and a number takes five times as long as that of two."""

Maker: TypeAlias = Callable[..., Forward]
"""Makes an activation of an array that it may overwrite, of a `Number`, a `Zeros` and parameters by name.

The activations of `SPARING` may be given a place as well."""

Powers: TypeAlias = Callable[[], tuple[np.ufunc, float]]
"""Gives a function and a unit so that ``exp(x)`` is ``power(unit * x)``."""


@cache
def _power() -> tuple[np.ufunc, float]:
    """A function and a unit so that ``exp(x)`` is ``power(unit * x)``.

    exp2 takes half the time of exp where NumPy has it for vectors of 512 bits, elsewhere several times as long.
    """
    kinds = opt_func_info("^exp2$", "float32").get("exp2", {}).values()
    is_wide = any(kind["current"] in ("X86_V4", "AVX512_SKX") for kind in kinds) and sys.platform == "linux"
    return (np.exp2, 1 / log(2)) if is_wide else (np.exp, 1.0)


def _natural() -> tuple[np.ufunc, float]:
    """By a unit of 1 nothing overflows."""
    return np.exp, 1.0


def _exp10(number: Number, zeros: Zeros) -> Forward:
    power, unit = _power()
    rate = number(log(10) * unit)

    def exp10(x: Array) -> Array:
        x *= rate
        return power(x, x)

    return exp10


def _clip(number: Number, zeros: Zeros, low: Any = -1.0, high: Any = 1.0) -> Forward:
    low, high = number(low), number(high)
    return lambda x: x.clip(low, high, x)


def _leaky_relu(number: Number, zeros: Zeros, negative_slope: Any = 0.01) -> Forward:
    slope = number(negative_slope)
    if np.all((slope > 0) & (slope <= 1)):

        def larger(x: Array, spare: Array = None) -> Array:
            return np.maximum(x, np.multiply(slope, x, spare), out=x)

        return larger

    def leaky_relu(x: Array, spare: Array = None) -> Array:
        below = np.minimum(x, zeros(x), out=spare)
        below *= slope
        np.maximum(x, zeros(x), out=x)
        x += below
        return x

    return leaky_relu


def _prelu(number: Number, zeros: Zeros, slope: Any) -> Forward:
    return _leaky_relu(number, zeros, slope)


def _exponential_below(number: Number, zeros: Zeros, rate: Any, below: Any, above: Any) -> Forward:
    """``above * x`` above 0, ``below * (exp(rate * x) - 1)`` below; all three are 1 if `below` is."""
    inner, outer, scale = (None if np.all(factor == 1) else number(factor) for factor in (rate, below, above))

    def exponential_below(x: Array, spare: Array = None) -> Array:
        e = np.minimum(x, zeros(x), out=spare)
        if inner is not None:
            e *= inner
        np.expm1(e, e)
        if outer is None:
            return np.maximum(x, e, out=x)
        e *= outer
        np.maximum(x, zeros(x), out=x)
        if scale is not None:
            x *= scale
        x += e
        return x

    return exponential_below


def _elu(number: Number, zeros: Zeros, alpha: Any = 1.0) -> Forward:
    return _exponential_below(number, zeros, 1.0, alpha, 1.0)


def _celu(number: Number, zeros: Zeros, alpha: Any = 1.0) -> Forward:
    return _exponential_below(number, zeros, np.divide(1.0, alpha), alpha, 1.0)


def _selu(number: Number, zeros: Zeros) -> Forward:
    return _exponential_below(number, zeros, 1.0, SELU_SCALE * SELU_ALPHA, SELU_SCALE)


def _sigmoid(number: Number, zeros: Zeros, *, is_folded: bool = False) -> Forward:
    power, unit = _power()
    one, rate = number(1), None if is_folded else number(-unit)

    def sigmoid(x: Array) -> Array:
        if rate is not None:
            x *= rate
        power(x, x)
        x += one
        return np.divide(one, x, x)

    return sigmoid


def _log_sigmoid(number: Number, zeros: Zeros, powers: Powers = _power) -> Forward:
    softplus = _softplus(number, zeros, powers=powers)

    def log_sigmoid(x: Array) -> Array:
        np.negative(x, x)
        return np.negative(softplus(x), x)

    return log_sigmoid


def _hard_sigmoid(number: Number, zeros: Zeros, slope: Any = 1 / 6, offset: Any = 0.5) -> Forward:
    factor, term, low, high = number(slope), number(offset), number(0), number(1)

    def hard_sigmoid(x: Array) -> Array:
        x *= factor
        x += term
        return x.clip(low, high, x)

    return hard_sigmoid


def _hard_swish(number: Number, zeros: Zeros) -> Forward:
    hard_sigmoid = _hard_sigmoid(number, zeros)

    def hard_swish(x: Array) -> Array:
        x *= hard_sigmoid(x.copy())
        return x

    return hard_swish


def _softsign(number: Number, zeros: Zeros) -> Forward:
    one = number(1)

    def softsign(x: Array) -> Array:
        size = np.abs(x)
        size += one
        x /= size
        return x

    return softsign


def _silu(number: Number, zeros: Zeros, beta: Any = 1.0, *, is_folded: bool = False) -> Forward:
    power, unit = _power()
    one, rate = number(1), None if is_folded else number(-unit * beta)

    def silu(x: Array, spare: Array = None) -> Array:
        if rate is None:
            e = power(x, spare)
        else:
            e = np.multiply(x, rate, spare)
            power(e, e)
        e += one
        x /= e
        return x

    return silu


def _learned_swish(number: Number, zeros: Zeros, alpha: Any, beta: Any) -> Forward:
    power, unit = _power()
    one, rate, least, rest = number(1), number(-unit * alpha), number(beta), number(1 - beta)

    def learned_swish(x: Array) -> Array:
        gate = x * rate
        power(gate, gate)
        gate += one
        np.divide(rest, gate, gate)
        gate += least
        x *= gate
        return x

    return learned_swish


def _gelu_tanh(number: Number, zeros: Zeros, *, is_folded: bool = False) -> Forward:
    power, unit = _power()
    rate = folded("gelu_tanh").rate if is_folded else 1.0
    one, linear = number(1), number(-LINEAR * unit / rate)
    cubic = None if is_folded else number(-CUBIC * unit)

    def gelu_tanh(x: Array, spare: Array = None) -> Array:
        e = np.multiply(x, x, spare)
        if cubic is not None:
            e *= cubic
        e += linear
        e *= x
        power(e, e)
        e += one
        x /= e
        return x

    return gelu_tanh


TAIL = {
    np.dtype(np.float32): (
        (0.39881443037063724, -0.013107100787119231),
        (1.2390445113907782, 2.154062242273706),
        (-10.48516839792931, 4.001947641183127),
        (17.25978375578698, 1.3533076732961389),
    ),
    np.dtype(np.float64): (
        (0.3989422804002344, -7.017790011609044e-10),
        (1.0000000757001148, 5.0421435371977e-06),
        (1.999765737112731, -0.004067938796191759),
        (3.110641517072995, 0.7831047214512301),
        (-9.741357250852131, 20.68352322308722),
        (177.15429930458927, -5.090687587923538),
        (-11.618314223447147, 1.7863408584957798),
        (45.33672326679565, 5.157471111789336),
        (0.8119070213340881, 25.649155269747695),
        (600.1227338192309, -22.07563786921927),
    ),
}
"""a, b, c, d, ... so that ``a / (t + b + c / (t + d + ...))`` is ``exp(t**2 / 2) * ndtr(-t)``, for t up to 40.

Fitted, of as many steps of a continued fraction as a rounding of `t` hides."""


def _gelu(number: Number, zeros: Zeros) -> Forward:
    """``max(x, 0)`` less ``t * ndtr(-t)``, t the size of x."""
    power, unit = _power()
    half, zero, largest, rate = number(0.5), number(0), number(20), number(-2 * unit)
    aboves, besides = zip(*TAIL[half.dtype], strict=True)  # of t, which is twice the size below
    first, *others = number(aboves[0]), *(number(above / 4) for above in aboves[1:])
    *outer, innermost = (number(beside / 2) for beside in besides)
    steps = [*zip(others, outer, strict=True)][::-1]

    def gelu(x: Array, spare: Array = None) -> Array:
        x *= half
        size = np.abs(x, spare)
        x += size  # nan of minus infinity, as gelu is
        size.clip(zero, largest, size)  # beyond, the tail is 0, and the square would overflow
        gauss = size * size
        gauss *= rate
        power(gauss, gauss)
        rest = size + innermost
        for above, beside in steps:
            np.divide(above, rest, rest)
            rest += size
            rest += beside
        size *= first
        size /= rest
        size *= gauss
        x -= size
        return x

    return gelu


def _mish(number: Number, zeros: Zeros, powers: Powers = _power) -> Forward:
    power, unit = powers()
    two, rate, largest = number(2), number(unit), number(20 * unit)  # from where it is x in every dtype

    def mish(x: Array, spare: Array = None) -> Array:
        e = np.multiply(x, rate, spare)
        power(np.minimum(e, largest, out=e), e)
        gate = e + two
        gate *= e
        np.add(gate, two, e)
        gate /= e
        x *= gate
        return x

    return mish


def _softplus(
    number: Number, zeros: Zeros, beta: Any = 1.0, threshold: Any = inf, powers: Powers = _power
) -> Forward:
    power, unit = powers()
    rate = number(-unit)
    factor = None if np.all(beta == 1) else number(beta)
    limit = None if np.all(threshold == inf) else number(threshold)

    def softplus(x: Array, spare: Array = None) -> Array:
        given = None if limit is None else x.copy()
        if factor is not None:
            with np.errstate(over="ignore"):
                x *= factor
        linear = None if limit is None else x > limit
        e = np.abs(x, spare)
        e *= rate
        power(e, e)
        np.log1p(e, e)
        np.maximum(x, zeros(x), out=x)
        x += e
        if factor is not None:
            x /= factor
        if given is not None:
            np.copyto(x, given, where=linear)
        return x

    return softplus


KERNELS: dict[str, Maker] = {
    "identity": lambda number, zeros: lambda x: x,
    "step": lambda number, zeros: lambda x: np.greater_equal(x, zeros(x), out=x),
    "tanh": lambda number, zeros: lambda x: np.tanh(x, x),
    "exp": lambda number, zeros: lambda x: np.exp(x, x),
    "exp10": _exp10,
    "relu": lambda number, zeros: lambda x: np.maximum(x, zeros(x), out=x),
    "relu6": partial(_clip, low=0.0, high=6.0),
    "clip": _clip,
    "hard_tanh": _clip,
    "leaky_relu": _leaky_relu,
    "prelu": _prelu,
    "elu": _elu,
    "celu": _celu,
    "selu": _selu,
    "sigmoid": _sigmoid,
    "log_sigmoid": _log_sigmoid,
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": _hard_swish,
    "softsign": _softsign,
    "silu": _silu,
    "learned_swish": _learned_swish,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "mish": _mish,
    "softplus": _softplus,
}


class Folded(NamedTuple):
    """An activation in a pass less: its argument comes multiplied by `rate`, its results leave so by `scale`."""

    rate: float = 1.0
    scale: float = 1.0
    maker: Maker | None = None


def folded(name: str, *, beta: Any = 1.0, **_: Any) -> Folded:
    """An activation whose factors go into the weights beside it; without a maker where it has none such."""
    unit = _power()[1]
    match name:
        case "sigmoid":
            return Folded(-unit, 1.0, partial(_sigmoid, is_folded=True))
        case "silu" if np.ndim(beta) == 0:
            return Folded(-unit * beta, -unit * beta, partial(_silu, is_folded=True))
        case "gelu_tanh":
            root = float((CUBIC * unit) ** (1 / 3))  # the cube has no factor then
            return Folded(-root, -root, partial(_gelu_tanh, is_folded=True))
    return Folded()


SPARING = {"leaky_relu", "elu", "celu", "selu", "silu", "gelu", "gelu_tanh", "mish", "softplus"}
"""Of those that hidden layers have most, the ones that compute something on the way: they may be given a flat
place for it."""

OVERFLOWING = {"sigmoid", "silu", "learned_swish", "gelu_tanh", "softplus", "log_sigmoid", "mish"}
"""Those with an exponential, or an exponent, that is infinite where nothing is left of them."""


def _sigmoid_of_one(number: Number, zeros: Zeros) -> Forward:
    one, largest = number(1), number(40)  # from where it is 1 in every dtype

    def sigmoid(x: Array) -> Array:
        np.exp(np.minimum(x, largest, out=x), x)
        return np.divide(x, x + one, x)

    return sigmoid


def _silu_of_one(number: Number, zeros: Zeros, beta: Any = 1.0) -> Forward:
    one, largest = number(1), number(40)
    factor = None if np.all(beta == 1) else number(beta)

    def silu(x: Array) -> Array:
        e = np.minimum(x if factor is None else x * factor, largest)
        np.exp(e, e)
        e /= e + one
        x *= e
        return x

    return silu


def _learned_swish_of_one(number: Number, zeros: Zeros, alpha: Any, beta: Any) -> Forward:
    sigmoid = _sigmoid_of_one(number, zeros)
    factor, least, rest = number(alpha), number(beta), number(1 - beta)

    def learned_swish(x: Array) -> Array:
        gate = sigmoid(x * factor)
        gate *= rest
        gate += least
        x *= gate
        return x

    return learned_swish


def _gelu_of_one(number: Number, zeros: Zeros) -> Forward:
    """By SciPy where that is installed: in two calls instead of twenty, which for many samples take longer."""
    try:
        from scipy.special import ndtr
    except ImportError:
        return _gelu(number, zeros)

    def gelu(x: Array) -> Array:
        x *= ndtr(x)
        return x

    return gelu


def _softplus_of_one(number: Number, zeros: Zeros, **parameters: Any) -> Forward:
    """Of few values by a slow function that starts sooner than several quick ones."""
    softplus = _softplus(number, zeros, powers=_natural, **parameters)
    if parameters:
        return softplus
    return lambda x: np.logaddexp(x, zeros(x), x) if x.size <= FEW else softplus(x)


FEW = 128
"""Values up to which numpy.logaddexp takes less time."""

OF_ONE: dict[str, Maker] = {
    "gelu": _gelu_of_one,
    "sigmoid": _sigmoid_of_one,
    "silu": _silu_of_one,
    "learned_swish": _learned_swish_of_one,
    "softplus": _softplus_of_one,
    "log_sigmoid": partial(_log_sigmoid, powers=_natural),
    "mish": partial(_mish, powers=_natural),
}
"""They save one sample calls, or the 0.7 µs of `errstate`."""
