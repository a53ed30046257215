"""Activations along one axis."""

from collections.abc import Callable
from functools import wraps
from math import inf
from operator import index
from typing import ParamSpec, cast

from portable_nn._typing import Array, Namespace
from portable_nn.activations._common import on_arrays
from portable_nn.activations.rectifiers import relu
from portable_nn.activations.sigmoids import sigmoid
from portable_nn.errors import InputError, ShapeError

__all__ = [
    "glu",
    "log_softmax",
    "softmax",
    "softmin",
    "sparsemax",
]


P = ParamSpec("P")

QUIET = {"array_api_compat.cupy", "array_api_compat.torch", "jax.numpy"}
"""Namespaces of libraries that never warn: a difference beyond all numbers is -inf to them, its exponential 0."""


def _along(x: Array, axis: int) -> int:
    """The axis as a number of Python, once `x` is known to have values along it."""
    shape = x.shape
    if type(axis) is int and -len(shape) <= axis < len(shape) and shape[axis] != 0:
        return axis
    try:
        number = index(axis)
    except TypeError:
        number = None
    if number is None or isinstance(axis, bool):
        raise InputError(f"the number of one axis was expected, got axis={axis!r}")
    if not -x.ndim <= number < x.ndim:
        raise ShapeError(
            f"an array of shape {tuple(x.shape)} has no axis {number}: "
            + ("give at least one dimension" if x.ndim == 0 else f"choose one from {-x.ndim} to {x.ndim - 1}")
        )
    if x.shape[number] == 0:
        raise ShapeError(f"there are no values along axis {number} of shape {tuple(x.shape)}: give at least one")
    return number


def on_axis(function: Callable[P, Array]) -> Callable[P, Array]:
    """What looks at the axis first. That of a layer has values: backends unwrap the function, and do not look."""
    along: Callable[..., Array] = function

    @wraps(function)
    def on_axis(x: Array, /, axis: int = -1, *, xp: Namespace) -> Array:
        return along(x, _along(x, axis), xp=xp)

    return cast(Callable[P, Array], on_axis)


@on_arrays
def bounded_softmax(x: Array, /, *, xp: Namespace) -> Array:
    """Softmax of logits that are known to lie where exp neither overflows nor underflows."""
    e = xp.exp(x)
    return e / xp.sum(e, axis=-1, keepdims=True)


@on_arrays
@on_axis
def softmax(x: Array, /, axis: int = -1, *, xp: Namespace = None) -> Array:
    """Softmax along one axis: ``exp(x) / sum(exp(x))``, computed without overflow.

    The maximum along `axis` is subtracted first, which changes no quotient. Every slice along `axis` is
    normalised by itself, so a batch gives the probabilities of each of its rows.

    Parameters
    ----------
    x : array of at least one dimension and any real dtype
    axis : int
        The axis along which the values sum to 1.
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`, between 0 and 1

    Raises
    ------
    ShapeError
        If `x` has no dimension, no such axis, or no values along it.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import softmax
    >>> softmax(np.array([1010, 1000, 990]))
    array([9.99954600e-01, 4.53978686e-05, 2.06106005e-09])
    """
    if getattr(xp, "__name__", "") in QUIET:
        e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    else:
        half = 0.5 * x  # the difference of two halves is finite
        root = xp.exp(half - xp.max(half, axis=axis, keepdims=True))
        e = root * root
    return e / xp.sum(e, axis=axis, keepdims=True)


@on_arrays
def softmin(x: Array, /, axis: int = -1, *, xp: Namespace = None) -> Array:
    """Softmax of ``-x``: the smallest value gets most.

    Parameters
    ----------
    x : array of at least one dimension and any real dtype
    axis : int
        The axis along which the values sum to 1.
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`, between 0 and 1

    Raises
    ------
    ShapeError
        If `x` has no dimension, no such axis, or no values along it.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import softmin
    >>> softmin(np.array([0.0, 0.0, 1000.0]))
    array([0.5, 0.5, 0. ])
    """
    return softmax(-x, axis, xp=xp)


@on_arrays
@on_axis
def log_softmax(x: Array, /, axis: int = -1, *, xp: Namespace = None) -> Array:
    """Logarithm of the softmax along one axis, accurate where the softmax itself underflows to 0.

    What lies further below the maximum than the dtype's largest number is -inf.

    Parameters
    ----------
    x : array of at least one dimension and any real dtype
    axis : int
        The axis along which the exponentials of the result sum to 1.
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`, at most 0

    Raises
    ------
    ShapeError
        If `x` has no dimension, no such axis, or no values along it.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import log_softmax
    >>> log_softmax(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """
    largest = xp.max(x, axis=axis, keepdims=True)
    shifted = x - xp.where(largest < inf, largest, xp.zeros_like(largest))
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))


@on_arrays
@on_axis
def sparsemax(x: Array, /, axis: int = -1, *, xp: Namespace = None) -> Array:
    """The distribution that is nearest to `x` along one axis; small probabilities are 0.

    Parameters
    ----------
    x : array of at least one dimension and any real dtype
    axis : int
        The axis along which the values sum to 1.
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`, between 0 and 1

    Raises
    ------
    ShapeError
        If `x` has no dimension, no such axis, or no values along it.

    References
    ----------
    Martins and Astudillo, arXiv:1602.02068.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import sparsemax
    >>> sparsemax(np.array([1.0, 0.5, -1.0]))
    array([0.75, 0.25, 0.  ])
    """
    half = 0.5 * x  # the difference of two halves is finite
    shifted = half - xp.max(half, axis=axis, keepdims=True)
    shifted = 2 * xp.maximum(shifted, xp.full_like(x, -0.5))  # what is further below gets 0 all the same
    descending = xp.sort(shifted, axis=axis, descending=True)
    count = xp.cumulative_sum(xp.ones_like(x), axis=axis)
    dropped = 1 + count * descending <= xp.cumulative_sum(descending, axis=axis)  # nan is not, and stays in sight
    supported = xp.astype(xp.logical_not(dropped), x.dtype)
    total, n = (xp.sum(terms, axis=axis, keepdims=True) for terms in (supported * descending, supported))
    return relu(shifted - (total - 1) / n, xp=xp)


@on_arrays
@on_axis
def glu(x: Array, /, axis: int = -1, *, xp: Namespace = None) -> Array:
    """Gated linear unit: the first half along one axis times the sigmoid of the second.

    Parameters
    ----------
    x : array of an even number of values along `axis`, and any real dtype
    axis : int
        The axis that is halved.
    xp : namespace of `x`, optional

    Returns
    -------
    array of the shape and floating dtype of `x`

    Raises
    ------
    ShapeError
        If `x` has no such axis, or an odd number of values along it.

    References
    ----------
    Dauphin, Fan, Auli and Grangier, arXiv:1612.08083.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import glu
    >>> glu(np.array([2.0, 3.0, 0.0, 1000.0]))
    array([1., 3.])
    """
    axis %= x.ndim
    half, odd = divmod(x.shape[axis], 2)
    if odd:
        raise ShapeError(f"glu halves an axis, and axis {axis} of shape {tuple(x.shape)} has an odd length")
    before = (slice(None),) * axis
    return x[(*before, slice(half), ...)] * sigmoid(x[(*before, slice(half, None), ...)], xp=xp)
