"""The error function and the normal distribution, with all digits in both tails."""

from portable_nn._typing import Array, Namespace
from portable_nn.activations._common import on_arrays

__all__ = [
    "erf",
    "erfc",
    "ndtr",
]

TAIL32 = (
    1.3896466229484465,
    -1.4961552594373593,
    0.9173290158818722,
    -0.2089700433970944,
    -0.09074544354271807,
    0.04500962049800233,
    0.019908681059076463,
    -0.007685102078998596,
    -0.0062702047671340825,
    0.0007065238071225164,
    0.0014461139582676351,
)
TAIL64 = (
    1.3896466225063728,
    -1.4961552836485559,
    0.9173290654165135,
    -0.2089685331624052,
    -0.0907465765181743,
    0.0449836042563741,
    0.019923391953139302,
    -0.007503205526150821,
    -0.00637849312167943,
    0.0001533665002229273,
    0.001782093673303057,
    0.0006564592161592938,
    -0.00023750316329171144,
    -0.00031750462733273245,
    -8.945515531027028e-05,
    5.9141111494744245e-05,
    5.237717639441049e-05,
    8.664618117239978e-06,
    2.3590738864008106e-05,
    -2.21105283230064e-05,
    -4.245123201978282e-05,
    4.3102448698612365e-05,
    -1.0779397973588034e-05,
)
"""``(t + 2.25) * exp(t**2) * erfc(t)`` in powers of ``(t - 1) / (t + 2.25)``: to 4e-9 up to t = 10, and to 8e-17
up to t = 27, beyond which there is nothing left of ``erfc(t)``."""

ERF32 = (
    1.1283791658483509,
    -0.37612626666720334,
    0.11283594715160218,
    -0.026854212010626412,
    0.005189087423433974,
    -0.000801686428716587,
    7.875875062685488e-05,
)
ERF64 = (
    1.1283791670955126,
    -0.37612638903183543,
    0.11283791670945006,
    -0.02686617064323777,
    0.0052239776071164225,
    -0.0008548325975389692,
    0.00012055294904839707,
    -1.492473690741966e-05,
    1.6447424703317362e-06,
    -1.6208483801871705e-07,
    1.3720064546777686e-08,
    -7.795898827002142e-10,
)
"""``erf(t) / t`` in powers of ``t**2`` up to t = 1, to 2e-9 and 1e-17."""


def erfc_parts(x: Array, factor: float, xp: Namespace) -> tuple[Array, Array, Array, Array]:
    """The sign of `x`, its size, and two factors of ``erfc(sqrt(factor) * size)``; `factor` is a power of 2.

    The first falls as ``1 / size``, by one polynomial for all sizes, as Shepherd and Laframboise have it in
    Mathematics of Computation 36 (1981). The second is ``exp(-factor * size**2)``. Rounding the square would cost
    as many digits as it has before its point: it is computed as a sum of two numbers, the smaller in the first.
    """
    side = xp.copysign(xp.ones_like(x), x)
    size = side * xp.clip(x, -40.0, 40.0)  # beyond, there is nothing left
    coarse = xp.round(64 * size) / 64  # its square is exact
    fine = (size - coarse) * (size + coarse)
    square = coarse * coarse + fine
    rest = (coarse * coarse - square) + fine
    gauss = xp.exp(-factor * square)
    t = size * factor**0.5
    scaled = _polynomial((t - 1) / (t + 2.25), TAIL64 if x.dtype == xp.float64 else TAIL32) / (t + 2.25)
    return side, size, scaled - scaled * (factor * rest), gauss


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    """``coefficients[0] + coefficients[1] * x + ...``."""
    *lower, result = coefficients
    for coefficient in reversed(lower):
        result = result * x + coefficient
    return result


@on_arrays
def erf(x: Array, /, *, xp: Namespace = None) -> Array:
    """The error function, ``2 / sqrt(pi)`` times the integral of ``exp(-t**2)`` from 0 to `x`.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`, between -1 and 1

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import erf
    >>> erf(np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.842701,  0.      ,  0.842701])
    """
    small = xp.clip(x, -2.0, 2.0)  # what is beyond 1 is not taken, and must be finite
    near = small * _polynomial(small * small, ERF64 if x.dtype == xp.float64 else ERF32)
    side, _, scaled, gauss = erfc_parts(x, 1.0, xp)
    return xp.where(xp.abs(x) <= 1, near, side * (1 - scaled * gauss))


@on_arrays
def erfc(x: Array, /, *, xp: Namespace = None) -> Array:
    """The complementary error function, ``1 - erf(x)``, where that is small too.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`, between 0 and 2

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import erfc
    >>> erfc(np.array([-10.0, 0.0, 10.0]))
    array([2.00000000e+00, 1.00000000e+00, 2.08848758e-45])
    """
    side, _, scaled, gauss = erfc_parts(x, 1.0, xp)
    return (1 - side) + side * (scaled * gauss)


@on_arrays
def ndtr(x: Array, /, *, xp: Namespace = None) -> Array:
    """The normal distribution: how likely a standard normal number is below `x`.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`, between 0 and 1

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import ndtr
    >>> ndtr(np.array([-10.0, 0.0, 10.0]))
    array([7.61985302e-24, 5.00000000e-01, 1.00000000e+00])
    """
    side, _, scaled, gauss = erfc_parts(x, 0.5, xp)
    return 0.5 * (1 + side) - side * (0.5 * scaled * gauss)
