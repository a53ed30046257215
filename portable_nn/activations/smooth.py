"""Smooth forms of relu."""

from math import inf, nan

from portable_nn._typing import Array, Namespace
from portable_nn.activations._common import Parameter, last, on_arrays, side

__all__ = [
    "softplus",
    "sparse_plus",
    "squareplus",
]

FAR = 2**27
"""From where on the root of ``x**2 + 1`` rounds to `x`."""


@on_arrays
def softplus(x: Array, /, *, beta: Parameter = 1.0, threshold: Parameter = inf, xp: Namespace = None) -> Array:
    """``log(1 + exp(beta * x)) / beta``, a smooth relu, without overflow.

    Parameters
    ----------
    x : array of any shape and real dtype
    beta : float or array of shape (n,)
    threshold : float or array of shape (n,)
        `x` itself where ``beta * x`` is above it, as `torch.nn.Softplus` has it above 20.
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`, positive

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import softplus
    >>> softplus(np.array([-1000.0, 0.0, 100.0])).round(6)
    array([  0.      ,   0.693147, 100.      ])
    """
    scaled = beta * x
    highest = xp.full_like(x, last(x, xp))
    above = xp.maximum(scaled - highest, xp.zeros_like(x))
    result = (xp.log1p(xp.exp(xp.minimum(scaled, highest))) + above) / beta
    if isinstance(threshold, float) and threshold == inf:
        return result
    return xp.where(scaled > threshold, x, result)


@on_arrays
def squareplus(x: Array, /, *, b: Parameter = 4.0, xp: Namespace = None) -> Array:
    """``(x + sqrt(x**2 + b)) / 2``, without cancellation where `x` is negative.

    Parameters
    ----------
    x : array of any shape and real dtype
    b : float or array of shape (n,)
        Positive.
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`, positive

    References
    ----------
    Barron, arXiv:2112.11687.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import squareplus
    >>> squareplus(np.array([-1000.0, 0.0, 1000.0])).round(6)
    array([1.000000e-03, 1.000000e+00, 1.000001e+03])
    """
    size = side(x, xp) * x  # |x|, whose derivative at 0 is 1 as on its right
    root = nan if isinstance(b, float) and b < 0 else b**0.5  # which Python makes complex
    near = xp.clip(size, None, FAR * root)
    ratio = near / root
    mean = size + 0.5 * (root * xp.sqrt(ratio * ratio + 1) - near)  # of |x| and of sqrt(x**2 + b)
    return xp.where(x < 0, xp.zeros_like(x), x) + 0.25 * (b / mean)


@on_arrays
def sparse_plus(x: Array, /, *, xp: Namespace = None) -> Array:
    """0 up to -1, `x` from 1 on, ``(x + 1)**2 / 4`` between.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import sparse_plus
    >>> sparse_plus(np.array([-2.0, 0.0, 2.0]))
    array([0.  , 0.25, 2.  ])
    """
    rising = xp.clip(x, -1.0, 1.0) + 1
    return xp.where(x >= 1, x, 0.25 * rising * rising)
