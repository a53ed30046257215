"""The error function and the normal distribution, with all digits in both tails."""

from typing import TypeAlias

from portable_nn._typing import Array, Namespace
from portable_nn.activations._common import on_arrays, side

__all__ = [
    "erf",
    "erfc",
    "ndtr",
]

ERFCX32 = (
    0.5641955162319566,
    0.0004822213919317188,
    (16.928955049385024, 10.13306784908514, 3.5332120142228236, 0.49004204510910093),
    (30.031144045576976, 37.33383662065225, 22.12096953254092, 6.955353963358173, 1.0),
)
ERFCX64 = (
    0.5641895835460616,
    -4.962326906151975e-10,
    (
        9005.928151343098,
        13935.561921212053,
        11144.91739582897,
        5737.5604946521125,
        2044.801453473426,
        512.3971289044179,
        88.00531439105093,
        9.50676918238112,
        0.5000000378500574,
    ),
    (
        15962.592018834524,
        34981.24176849518,
        37922.77257844691,
        26118.801037511155,
        12471.598741711154,
        4264.095805276447,
        1043.8089937410004,
        177.01056611624193,
        19.0135404907692,
        1.0,
    ),
)
"""Two numbers and two polynomials: ``scale / (t + shift + above(t) / below(t))`` is ``exp(t**2) * erfc(t)``, to
7e-9 up to t = 10, and to 6e-17 up to t = 27, beyond which there is nothing left of ``erfc(t)``.

It is a step of Laplace's continued fraction with its rest fitted: the larger t is, the less matters how the rest
is rounded, and no coefficient of the polynomials is negative, so that no digits cancel."""

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

    The first falls as ``1 / size``. The second is ``exp(-factor * size**2)``. Rounding the square would cost as
    many digits as it has before its point: it is computed as a sum of two numbers, the smaller in the first.
    """
    sign = side(x, xp)
    size = sign * xp.clip(x, -40.0, 40.0)  # beyond, there is nothing left
    coarse = xp.round(64 * size) / 64  # its square is exact
    fine = (size - coarse) * (size + coarse)
    square = coarse * coarse + fine
    rest = (coarse * coarse - square) + fine
    gauss = xp.exp(-factor * square)
    scale, shift, above, below = scaled_erfc(factor**0.5, x.dtype == xp.float64)
    rising = size + (shift + _polynomial(size, above) / _polynomial(size, below))
    return sign, size, (scale - scale * factor * rest) / rising, gauss


Polynomial: TypeAlias = tuple[float, ...]


def scaled_erfc(root: float, wide: bool) -> tuple[float, float, Polynomial, Polynomial]:
    """The numbers of `ERFCX64`, or of `ERFCX32`, for ``t = root * x`` and polynomials in `x`."""
    scale, shift, above, below = ERFCX64 if wide else ERFCX32
    powers = [root ** (i - len(above)) for i in range(len(below))]
    return (
        scale / root,
        shift / root,
        tuple(number * power / root for number, power in zip(above, powers, strict=False)),
        tuple(number * power for number, power in zip(below, powers, strict=True)),
    )


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
    sign, _, scaled, gauss = erfc_parts(x, 1.0, xp)
    return xp.where(xp.abs(x) <= 1, near, sign * (1 - scaled * gauss))


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
    sign, _, scaled, gauss = erfc_parts(x, 1.0, xp)
    return (1 - sign) + sign * (scaled * gauss)


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
    sign, _, scaled, gauss = erfc_parts(x, 0.5, xp)
    return 0.5 * (1 + sign) - sign * (0.5 * scaled * gauss)
