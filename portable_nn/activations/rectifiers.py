"""Activations that are linear on one side, and something less on the other."""

from math import inf

from portable_nn._typing import Array, Namespace
from portable_nn.activations._common import Parameter, filled, on_arrays
from portable_nn.errors import InputError

__all__ = [
    "celu",
    "clipped_relu",
    "elu",
    "hardshrink",
    "leaky_relu",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "softshrink",
    "threshold",
]

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""The fixed point of mean 0 and variance 1, as its authors give it."""

UNDERIVED = {"array_api_compat.numpy", "array_api_compat.cupy", "array_api_compat.dask.array", "dpnp"}
"""Namespaces of libraries that take no derivatives: in others that of a maximum is 1/2 at 0, and should be 0."""


def _has_maximum(xp: Namespace, slope: Parameter = 0.0) -> bool:
    """Whether the larger of ``slope * x`` and `x` is right: `where` takes up to ten times as long."""
    return getattr(xp, "__name__", "") in UNDERIVED and isinstance(slope, float) and 0 <= slope <= 1


def _exponential_below(x: Array, exponent: Array, below: Parameter, above: float, xp: Namespace) -> Array:
    """``above * x`` where `x` is positive, ``below * (exp(exponent) - 1)`` elsewhere."""
    if _has_maximum(xp) and isinstance(below, float) and 0 <= below < inf:
        negative = below * xp.expm1(xp.minimum(exponent, 0.0))
        is_larger = exponent is x and above == 1 and below <= 1  # than x, below 0
        return xp.maximum(x, negative) if is_larger else above * xp.maximum(x, 0.0) + negative
    negative = x <= 0
    exponent = xp.where(negative, exponent, xp.zeros_like(x))
    # libraries derive expm1(x) as expm1(x) + 1, which is 0 where exp(x) is not
    return xp.where(
        negative, below * xp.where(exponent > -1, xp.expm1(exponent), xp.exp(exponent) - 1), above * x
    )


@on_arrays
def relu(x: Array, /, *, xp: Namespace = None) -> Array:
    """Rectified linear unit, ``max(x, 0)``; its derivative at 0 is 0.

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
    >>> from portable_nn.activations import relu
    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    if _has_maximum(xp):
        return xp.maximum(x, 0.0)
    return xp.where(x <= 0, xp.zeros_like(x), x)


@on_arrays
def relu6(x: Array, /, *, xp: Namespace = None) -> Array:
    """``min(max(x, 0), 6)``.

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
    >>> from portable_nn.activations import relu6
    >>> relu6(np.array([-1.0, 2.0, 8.0]))
    array([0., 2., 6.])
    """
    if _has_maximum(xp):
        return xp.minimum(xp.maximum(x, 0.0), 6.0)
    return clipped_relu(x, max_value=6.0, xp=xp)


@on_arrays
def clipped_relu(
    x: Array,
    /,
    *,
    max_value: Parameter = inf,
    negative_slope: Parameter = 0.0,
    threshold: Parameter = 0.0,
    xp: Namespace = None,
) -> Array:
    """Relu that may start elsewhere, leak and saturate, as `keras.layers.ReLU` does.

    `max_value` where `x` is above it, `x` where it is above `threshold` only, and elsewhere
    ``negative_slope * (x - threshold)``.

    Parameters
    ----------
    x : array of any shape and real dtype
    max_value, negative_slope, threshold : float or array of shape (n,)
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import clipped_relu
    >>> clipped_relu(np.array([-1.0, 2.0, 8.0]), max_value=6, negative_slope=0.5)
    array([-0.5,  2. ,  6. ])
    """
    leaks = not isinstance(negative_slope, float) or negative_slope != 0  # -inf times 0 would be nan
    below = negative_slope * (x - threshold) if leaks else xp.zeros_like(x)
    return xp.where(x <= threshold, below, xp.clip(x, None, max_value))


@on_arrays
def leaky_relu(x: Array, /, *, negative_slope: Parameter = 0.01, xp: Namespace = None) -> Array:
    """`x` where it is positive, ``negative_slope * x`` elsewhere.

    Parameters
    ----------
    x : array of any shape and real dtype
    negative_slope : float or array of shape (n,)
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import leaky_relu
    >>> leaky_relu(np.array([-100.0, 2.0]))
    array([-1.,  2.])
    """
    if _has_maximum(xp, negative_slope):
        return xp.maximum(x, negative_slope * x)
    return xp.where(x <= 0, negative_slope * x, x)


@on_arrays
def prelu(x: Array, /, *, slope: Parameter, xp: Namespace = None) -> Array:
    """Leaky relu whose slope was learned: `x` where it is positive, ``slope * x`` elsewhere.

    Parameters
    ----------
    x : array of any shape and real dtype
    slope : float or array of shape (n,)
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    References
    ----------
    He, Zhang, Ren and Sun, arXiv:1502.01852.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import prelu
    >>> prelu(np.array([-1.0, -1.0]), slope=np.array([0.25, 0.5]))
    array([-0.25, -0.5 ])
    """
    return leaky_relu(x, negative_slope=slope, xp=xp)


@on_arrays
def elu(x: Array, /, *, alpha: Parameter = 1.0, xp: Namespace = None) -> Array:
    """Exponential linear unit: `x` where it is positive, ``alpha * (exp(x) - 1)`` elsewhere.

    Parameters
    ----------
    x : array of any shape and real dtype
    alpha : float or array of shape (n,)
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    References
    ----------
    Clevert, Unterthiner and Hochreiter, arXiv:1511.07289.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import elu
    >>> elu(np.array([-1000.0, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """
    return _exponential_below(x, x, alpha, 1.0, xp)


@on_arrays
def celu(x: Array, /, *, alpha: Parameter = 1.0, xp: Namespace = None) -> Array:
    """Elu with a continuous derivative: ``alpha * (exp(x / alpha) - 1)`` below 0.

    Parameters
    ----------
    x : array of any shape and real dtype
    alpha : float or array of shape (n,)
        Not 0.
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    Raises
    ------
    InputError
        If `alpha` is the number 0.

    References
    ----------
    Barron, arXiv:1704.07483.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import celu
    >>> celu(np.array([-1000.0, 0.0, 2.0]), alpha=0.5)
    array([-0.5,  0. ,  2. ])
    """
    if isinstance(alpha, float) and alpha == 0:
        raise InputError("x is divided by alpha, which is 0: give for instance alpha=1.0, or relu")
    return _exponential_below(x, x / filled(x, alpha, xp), alpha, 1.0, xp)


@on_arrays
def selu(x: Array, /, *, xp: Namespace = None) -> Array:
    """Elu of such an `alpha` and a scale that values keep mean 0 and variance 1 from layer to layer.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    References
    ----------
    Klambauer, Unterthiner, Mayr and Hochreiter, arXiv:1706.02515.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import selu
    >>> selu(np.array([-1000.0, 0.0, 2.0])).round(6)
    array([-1.758099,  0.      ,  2.101402])
    """
    return _exponential_below(x, x, SELU_SCALE * SELU_ALPHA, SELU_SCALE, xp)


@on_arrays
def threshold(x: Array, /, *, threshold: Parameter, value: Parameter, xp: Namespace = None) -> Array:
    """`x` where it is above `threshold`, `value` elsewhere.

    Parameters
    ----------
    x : array of any shape and real dtype
    threshold, value : float or array of shape (n,)
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import threshold
    >>> threshold(np.array([-1.0, 0.5, 2.0]), threshold=1, value=0)
    array([0., 0., 2.])
    """
    return xp.where(x <= threshold, filled(x, value, xp), x)


@on_arrays
def softshrink(x: Array, /, *, width: Parameter = 0.5, xp: Namespace = None) -> Array:
    """`x` brought nearer to 0 by `width`, 0 where it is no further from it.

    Parameters
    ----------
    x : array of any shape and real dtype
    width : float or array of shape (n,)
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import softshrink
    >>> softshrink(np.array([-2.0, 0.1, 2.0]))
    array([-1.5,  0. ,  1.5])
    """
    return x - xp.clip(x, -width, width)


@on_arrays
def hardshrink(x: Array, /, *, width: Parameter = 0.5, xp: Namespace = None) -> Array:
    """`x` where it is further than `width` from 0, else 0.

    Parameters
    ----------
    x : array of any shape and real dtype
    width : float or array of shape (n,)
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import hardshrink
    >>> hardshrink(np.array([-2.0, 0.1, 2.0]))
    array([-2.,  0.,  2.])
    """
    return xp.where(xp.abs(x) <= width, xp.zeros_like(x), x)
