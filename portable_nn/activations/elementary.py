"""Identity, step, and plain functions that networks end in."""

from typing import cast

from portable_nn._typing import A, Namespace
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
def identity(x: A, /, *, xp: Namespace = None) -> A:
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
def step(x: A, /, *, xp: Namespace = None) -> A:
    """Heaviside step: 1 where ``x >= 0``, else 0 (also for nan).

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
    result: A = xp.astype(x >= 0, x.dtype)
    return result


@on_arrays
def absolute(x: A, /, *, xp: Namespace = None) -> A:
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
    result: A = xp.abs(x)
    return result


@on_arrays
def square(x: A, /, *, xp: Namespace = None) -> A:
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
    result: A = x * x
    return result


@on_arrays
def sqrt(x: A, /, *, xp: Namespace = None) -> A:
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
    result: A = xp.sqrt(x)
    return result


@on_arrays
def reciprocal(x: A, /, *, xp: Namespace = None) -> A:
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
    return cast(A, 1 / x)


@on_arrays
def exp(x: A, /, *, xp: Namespace = None) -> A:
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
    result: A = xp.exp(x)
    return result


@on_arrays
def expm1(x: A, /, *, xp: Namespace = None) -> A:
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
    result: A = xp.expm1(x)
    return result


@on_arrays
def exp10(x: A, /, *, xp: Namespace = None) -> A:
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
    return cast(A, 10.0**x)


@on_arrays
def log(x: A, /, *, xp: Namespace = None) -> A:
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
    result: A = xp.log(x)
    return result


@on_arrays
def log10(x: A, /, *, xp: Namespace = None) -> A:
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
    result: A = xp.log10(x)
    return result


@on_arrays
def log1p(x: A, /, *, xp: Namespace = None) -> A:
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
    result: A = xp.log1p(x)
    return result


@on_arrays
def sine(x: A, /, *, xp: Namespace = None) -> A:
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
    result: A = xp.sin(x)
    return result


@on_arrays
def cosine(x: A, /, *, xp: Namespace = None) -> A:
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
    result: A = xp.cos(x)
    return result


@on_arrays
def clip(x: A, /, *, low: Parameter, high: Parameter, xp: Namespace = None) -> A:
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
    result: A = xp.clip(x, low, high)
    return result
