"""Activations that rise between two bounds, and what comes of them."""

from portable_nn._typing import Array, Namespace
from portable_nn.activations._common import Parameter, last, on_arrays
from portable_nn.activations.elementary import clip
from portable_nn.activations.smooth import softplus

__all__ = [
    "hard_sigmoid",
    "hard_tanh",
    "log_sigmoid",
    "sigmoid",
    "softsign",
    "sparse_sigmoid",
    "tanh",
    "tanhshrink",
]


@on_arrays
def sigmoid(x: Array, /, *, xp: Namespace = None) -> Array:
    """Logistic sigmoid, ``1 / (1 + exp(-x))``.

    No overflow for any finite `x`, full relative accuracy in the far tail, and the derivative 1/4 at 0.

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
    >>> from portable_nn.activations import sigmoid
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    e = xp.exp(xp.minimum(x, xp.full_like(x, last(x, xp))))
    return e / (1 + e)


@on_arrays
def log_sigmoid(x: Array, /, *, xp: Namespace = None) -> Array:
    """The logarithm of the sigmoid, ``-log(1 + exp(-x))``, without overflow.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`, negative

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import log_sigmoid
    >>> log_sigmoid(np.array([-1000.0, 0.0, 10.0])).round(6)
    array([-1.00000e+03, -6.93147e-01, -4.50000e-05])
    """
    return -softplus(-x, xp=xp)


@on_arrays
def hard_sigmoid(
    x: Array, /, *, slope: Parameter = 1 / 6, offset: Parameter = 0.5, xp: Namespace = None
) -> Array:
    """``slope * x + offset`` between 0 and 1.

    Parameters
    ----------
    x : array of any shape and real dtype
    slope, offset : float or array of shape (n,)
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`, between 0 and 1

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import hard_sigmoid
    >>> hard_sigmoid(np.array([-4.0, 0.0, 1.5]))
    array([0.  , 0.5 , 0.75])
    """
    return xp.clip(slope * x + offset, 0.0, 1.0)


@on_arrays
def sparse_sigmoid(x: Array, /, *, xp: Namespace = None) -> Array:
    """``(x + 1) / 2`` between 0 and 1, the derivative of `sparse_plus`.

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
    >>> from portable_nn.activations import sparse_sigmoid
    >>> sparse_sigmoid(np.array([-2.0, 0.0, 0.5]))
    array([0.  , 0.5 , 0.75])
    """
    return hard_sigmoid(x, slope=0.5, xp=xp)


@on_arrays
def tanh(x: Array, /, *, xp: Namespace = None) -> Array:
    """Hyperbolic tangent.

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
    >>> from portable_nn.activations import tanh
    >>> tanh(np.array([-1000.0, 0.0, 1000.0]))
    array([-1.,  0.,  1.])
    """
    return xp.tanh(x)


@on_arrays
def hard_tanh(x: Array, /, *, low: Parameter = -1.0, high: Parameter = 1.0, xp: Namespace = None) -> Array:
    """`x`, but no less than `low` and no more than `high`.

    Parameters
    ----------
    x : array of any shape and real dtype
    low, high : float or array of shape (n,)
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import hard_tanh
    >>> hard_tanh(np.array([-2.0, 0.5, 2.0]))
    array([-1. ,  0.5,  1. ])
    """
    return clip(x, low=low, high=high, xp=xp)


@on_arrays
def tanhshrink(x: Array, /, *, xp: Namespace = None) -> Array:
    """``x - tanh(x)``, with all digits where `x` is small.

    Up to 1, where the two would cancel, it is ``x * c / (1 + c)``, for tanh is Lambert's continued fraction
    ``x / (1 + c)`` with ``c = x**2 / (3 + x**2 / (5 + ...))``.

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
    >>> from portable_nn.activations import tanhshrink
    >>> tanhshrink(np.array([-2.0, 0.0, 2.0])).round(6)
    array([-1.035972,  0.      ,  1.035972])
    """
    near = xp.clip(x, -2.0, 2.0)  # what is beyond 1 is not taken, and must be finite
    square = rest = near * near
    for odd in range(19, 1, -2):
        rest = square / (odd + rest)
    return xp.where(xp.abs(x) <= 1, near * (rest / (1 + rest)), x - xp.tanh(x))


@on_arrays
def softsign(x: Array, /, *, xp: Namespace = None) -> Array:
    """``x / (1 + |x|)``.

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
    >>> from portable_nn.activations import softsign
    >>> softsign(np.array([-3.0, 0.0, 1.0]))
    array([-0.75,  0.  ,  0.5 ])
    """
    return x / (1 + xp.abs(x))
