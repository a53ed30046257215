"""Identity, step, and plain functions that networks end in."""

from portable_nn._typing import Array, Namespace
from portable_nn.activations._common import Parameter, on_arrays

__all__ = [
    "absolute",
    "clip",
    "cosine",
    "exp",
    "exp10",
    "expm1",
    "identity",
    "log",
    "log1p",
    "log10",
    "reciprocal",
    "sine",
    "sqrt",
    "square",
    "step",
]


@on_arrays
def identity(x: Array, /, *, xp: Namespace = None) -> Array:
    """`x` itself, promoted to floating.

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
    >>> from portable_nn.activations import identity
    >>> identity(np.array([1, 2]))
    array([1., 2.])
    """
    return x


@on_arrays
def step(x: Array, /, *, xp: Namespace = None) -> Array:
    """Heaviside step: 1 where ``x >= 0``, else 0 (also for nan); its derivative is 0.

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
    >>> from portable_nn.activations import step
    >>> step(np.array([-1.0, 0.0, 2.0]))
    array([0., 1., 1.])
    """
    values = xp.astype(x >= 0, x.dtype)
    if getattr(x, "requires_grad", False):  # PyTorch takes no derivative of what has no x in it
        return xp.where(xp.zeros_like(x, dtype=xp.bool), x, values)
    return values


@on_arrays
def absolute(x: Array, /, *, xp: Namespace = None) -> Array:
    """The absolute value, ``|x|``; its derivative at 0 is 0.

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
    >>> from portable_nn.activations import absolute
    >>> absolute(np.array([-1.0, 2.0]))
    array([1., 2.])
    """
    return xp.abs(x)


@on_arrays
def square(x: Array, /, *, xp: Namespace = None) -> Array:
    """``x**2``.

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
    >>> from portable_nn.activations import square
    >>> square(np.array([-1.0, 2.0]))
    array([1., 4.])
    """
    return x * x


@on_arrays
def sqrt(x: Array, /, *, xp: Namespace = None) -> Array:
    """The square root, nan where `x` is negative.

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
    >>> from portable_nn.activations import sqrt
    >>> sqrt(np.array([0.0, 4.0]))
    array([0., 2.])
    """
    return xp.sqrt(x)


@on_arrays
def reciprocal(x: Array, /, *, xp: Namespace = None) -> Array:
    """``1 / x``.

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
    >>> from portable_nn.activations import reciprocal
    >>> reciprocal(np.array([-1.0, 4.0]))
    array([-1.  ,  0.25])
    """
    return 1 / x


@on_arrays
def exp(x: Array, /, *, xp: Namespace = None) -> Array:
    """The exponential function.

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
    >>> from portable_nn.activations import exp
    >>> exp(np.array([-1.0, 0.0])).round(6)
    array([0.367879, 1.      ])
    """
    return xp.exp(x)


@on_arrays
def expm1(x: Array, /, *, xp: Namespace = None) -> Array:
    """``exp(x) - 1``, with all digits where `x` is small.

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
    >>> from portable_nn.activations import expm1
    >>> expm1(np.array([0.0, 1e-9]))
    array([0.e+00, 1.e-09])
    """
    return xp.expm1(x)


@on_arrays
def exp10(x: Array, /, *, xp: Namespace = None) -> Array:
    """``10**x``, the end of networks that give logarithms.

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
    >>> from portable_nn.activations import exp10
    >>> exp10(np.array([-2.0, 0.0, 3.0]))
    array([1.e-02, 1.e+00, 1.e+03])
    """
    return 10.0**x


@on_arrays
def log(x: Array, /, *, xp: Namespace = None) -> Array:
    """The natural logarithm, nan where `x` is negative.

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
    >>> from portable_nn.activations import log
    >>> log(np.array([1.0, 2.0])).round(6)
    array([0.      , 0.693147])
    """
    return xp.log(x)


@on_arrays
def log10(x: Array, /, *, xp: Namespace = None) -> Array:
    """The logarithm to base 10, nan where `x` is negative.

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
    >>> from portable_nn.activations import log10
    >>> log10(np.array([1.0, 100.0]))
    array([0., 2.])
    """
    return xp.log10(x)


@on_arrays
def log1p(x: Array, /, *, xp: Namespace = None) -> Array:
    """The logarithm of ``1 + x``, with all digits where `x` is small; nan where that is negative.

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
    >>> from portable_nn.activations import log1p
    >>> log1p(np.array([0.0, 1.0])).round(6)
    array([0.      , 0.693147])
    """
    return xp.log1p(x)


@on_arrays
def sine(x: Array, /, *, xp: Namespace = None) -> Array:
    """The sine of `x` radians.

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
    >>> from portable_nn.activations import sine
    >>> sine(np.array([0.0, 1.0])).round(6)
    array([0.      , 0.841471])
    """
    return xp.sin(x)


@on_arrays
def cosine(x: Array, /, *, xp: Namespace = None) -> Array:
    """The cosine of `x` radians.

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
    >>> from portable_nn.activations import cosine
    >>> cosine(np.array([0.0, 1.0])).round(6)
    array([1.      , 0.540302])
    """
    return xp.cos(x)


@on_arrays
def clip(x: Array, /, *, low: Parameter, high: Parameter, xp: Namespace = None) -> Array:
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
    >>> from portable_nn.activations import clip
    >>> clip(np.array([-2.0, 0.5, 2.0]), low=-1, high=1)
    array([-1. ,  0.5,  1. ])
    """
    return xp.clip(x, low, high)
