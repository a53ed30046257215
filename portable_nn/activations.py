"""Activation functions, written once against the array API standard.

Each takes an array of any library and any real dtype, on any device, and gives an array of the same library,
device and shape. A floating dtype is kept; integers and booleans are promoted to the device's default float.
A network, which has resolved the array's namespace already, passes it as `xp`. float16 and bfloat16 are computed
in float32 and rounded once.

None has a `where` on data that arithmetic could spare, and those that are smooth are written without a kink at 0,
where automatic differentiation would find a second derivative that is not theirs.

A new activation is one function here and its name in `ACTIVATIONS`.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import signature
from math import inf
from typing import Any, TypeVar, cast

from portable_nn._arrays import check_real, default_float, is_narrow, namespace, native
from portable_nn._typing import A, Array, Namespace
from portable_nn.errors import InputError, ShapeError

__all__ = [
    "elu",
    "gelu",
    "identity",
    "leaky_relu",
    "log_softmax",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "step",
    "tanh",
]

LINEAR, CUBIC = 1.5957691216057308, 1.5957691216057308 * 0.044715
"""gelu is ``x * sigmoid(LINEAR * x + CUBIC * x**3)``; the first is twice the root of 2 / pi."""

Function = TypeVar("Function", bound=Callable[..., Any])


def _on_arrays(function: Function) -> Function:
    """A function of floating arrays whose namespace is known, made to take any real arrays.

    What has 16 bits is computed in 32 and rounded once.
    """

    @wraps(function)
    def on_arrays(x: Array, /, *axis: int, xp: Namespace | None = None, **along: int) -> Array:
        if xp is None:
            xp = namespace(x)
            dtype = native(x.dtype) if check_real(x, xp) else default_float(xp, x)
            if x.dtype != dtype:
                x = xp.astype(x, dtype)
        if not is_narrow(x):
            return function(x, *axis, xp=xp, **along)
        return xp.astype(function(xp.astype(x, xp.float32), *axis, xp=xp, **along), x.dtype)

    return cast(Function, on_arrays)


def _along(x: Array, axis: int) -> int:
    """Check that `x` has values along `axis`."""
    if isinstance(axis, bool) or not hasattr(axis, "__index__"):
        raise InputError(f"softmax normalises along one axis, given by its number, got axis={axis!r}")
    if not -x.ndim <= axis < x.ndim:
        raise ShapeError(
            f"softmax normalises along an axis, and an array of shape {tuple(x.shape)} has no axis {axis}: "
            + ("give at least one dimension" if x.ndim == 0 else f"choose one from {-x.ndim} to {x.ndim - 1}")
        )
    if x.shape[axis] == 0:
        raise ShapeError(f"softmax over no values: axis {axis} of shape {tuple(x.shape)} has length 0")
    return axis


def _last(x: Array, xp: Namespace) -> float:
    """From where on a sigmoid rounds to 1; exp of it has a finite cube, which second derivatives meet."""
    return 40 if x.dtype == xp.float64 else 20


@_on_arrays
def step(x: A, /, *, xp: Namespace = None) -> A:
    """Heaviside step: 1 where ``x >= 0``, else 0 (also for nan).

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional
        Given by a caller who has resolved it already; `x` must then be floating.

    Returns
    -------
    array
        Of the library, device, shape and floating dtype of `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import step
    >>> step(np.array([-1.0, 0.0, 2.0]))
    array([0., 1., 1.])
    """
    result: A = xp.astype(x >= 0, x.dtype)
    return result


@_on_arrays
def sigmoid(x: A, /, *, xp: Namespace = None) -> A:
    """Logistic sigmoid, ``1 / (1 + exp(-x))``.

    No overflow for any finite `x`, full relative accuracy in the far tail, and the derivative 1/4 at 0.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional
        Given by a caller who has resolved it already; `x` must then be floating.

    Returns
    -------
    array
        Of the library, device, shape and floating dtype of `x`, between 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import sigmoid
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    e = xp.exp(xp.minimum(x, xp.full_like(x, _last(x, xp))))
    result: A = e / (1 + e)
    return result


@_on_arrays
def relu(x: A, /, *, xp: Namespace = None) -> A:
    """Rectified linear unit, ``max(x, 0)``; its derivative at 0 is 0.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional
        Given by a caller who has resolved it already; `x` must then be floating.

    Returns
    -------
    array
        Of the library, device, shape and floating dtype of `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import relu
    >>> relu(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 2.])
    """
    result: A = xp.where(x <= 0, xp.zeros_like(x), x)
    return result


@_on_arrays
def tanh(x: A, /, *, xp: Namespace = None) -> A:
    """Hyperbolic tangent.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional
        Given by a caller who has resolved it already; `x` must then be floating.

    Returns
    -------
    array
        Of the library, device, shape and floating dtype of `x`, between -1 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import tanh
    >>> tanh(np.array([-1000.0, 0.0, 1000.0]))
    array([-1.,  0.,  1.])
    """
    result: A = xp.tanh(x)
    return result


@_on_arrays
def identity(x: A, /, *, xp: Namespace = None) -> A:  # noqa: ARG001
    """`x` itself, promoted to floating.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional
        Given by a caller who has resolved it already; `x` must then be floating.

    Returns
    -------
    array
        Of the library, device, shape and floating dtype of `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import identity
    >>> identity(np.array([1, 2]))
    array([1., 2.])
    """
    return x


@_on_arrays
def leaky_relu(x: A, /, *, xp: Namespace = None) -> A:
    """`x` where it is positive, ``x / 100`` elsewhere (the slope of `torch.nn.LeakyReLU`).

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional
        Given by a caller who has resolved it already; `x` must then be floating.

    Returns
    -------
    array
        Of the library, device, shape and floating dtype of `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import leaky_relu
    >>> leaky_relu(np.array([-100.0, 2.0]))
    array([-1.,  2.])
    """
    result: A = xp.where(x <= 0, 0.01 * x, x)
    return result


@_on_arrays
def elu(x: A, /, *, xp: Namespace = None) -> A:
    """Exponential linear unit: `x` where it is positive, ``exp(x) - 1`` elsewhere.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional
        Given by a caller who has resolved it already; `x` must then be floating.

    Returns
    -------
    array
        Of the library, device, shape and floating dtype of `x`, above -1.

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
    negative = x <= 0
    below = xp.where(negative, x, xp.zeros_like(x))
    # libraries derive expm1(x) as expm1(x) + 1, which is 0 where exp(x) is not
    result: A = xp.where(negative, xp.where(x > -1, xp.expm1(below), xp.exp(below) - 1), x)
    return result


@_on_arrays
def gelu(x: A, /, *, xp: Namespace = None) -> A:
    """Gaussian error linear unit in its tanh form (the standard has no erf).

    The factor ``(1 + tanh(u)) / 2`` is computed as ``sigmoid(2 u)``, which is accurate in the far tail too.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional
        Given by a caller who has resolved it already; `x` must then be floating.

    Returns
    -------
    array
        Of the library, device, shape and floating dtype of `x`.

    References
    ----------
    Hendrycks and Gimpel, arXiv:1606.08415, equation for the tanh approximation.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import gelu
    >>> gelu(np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.158808,  0.      ,  0.841192])
    """
    near = xp.clip(x, -30.0, 30.0)  # beyond, the sigmoid is 0 or 1, and the cube would overflow
    result: A = x * sigmoid(near * (LINEAR + CUBIC * near * near), xp=xp)
    return result


@_on_arrays
def silu(x: A, /, *, xp: Namespace = None) -> A:
    """Sigmoid linear unit, ``x * sigmoid(x)``, also called swish.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional
        Given by a caller who has resolved it already; `x` must then be floating.

    Returns
    -------
    array
        Of the library, device, shape and floating dtype of `x`.

    References
    ----------
    Elfwing, Uchibe and Doya, arXiv:1702.03118.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import silu
    >>> silu(np.array([-1.0, 0.0, 1.0])).round(6)
    array([-0.268941,  0.      ,  0.731059])
    """
    result: A = x * sigmoid(x, xp=xp)
    return result


@_on_arrays
def softplus(x: A, /, *, xp: Namespace = None) -> A:
    """``log(1 + exp(x))``, a smooth relu, without overflow.

    Parameters
    ----------
    x : array of any shape and real dtype
    xp : namespace of `x`, optional
        Given by a caller who has resolved it already; `x` must then be floating.

    Returns
    -------
    array
        Of the library, device, shape and floating dtype of `x`, positive.

    Examples
    --------
    >>> import numpy as np
    >>> from portable_nn.activations import softplus
    >>> softplus(np.array([-1000.0, 0.0, 100.0])).round(6)
    array([  0.      ,   0.693147, 100.      ])
    """
    last = _last(x, xp)
    below = xp.minimum(x, xp.full_like(x, last))
    result: A = xp.log1p(xp.exp(below)) + xp.maximum(x - last, xp.zeros_like(x))
    return result


@_on_arrays
def softmax(x: A, /, axis: int = -1, *, xp: Namespace = None) -> A:
    """Softmax along one axis: ``exp(x) / sum(exp(x))``, computed without overflow.

    The maximum along `axis` is subtracted first, which changes no quotient. Every slice along `axis` is
    normalised by itself, so a batch gives the probabilities of each of its rows.

    Parameters
    ----------
    x : array of at least one dimension and any real dtype
    axis : int
        The axis along which the values sum to 1.
    xp : namespace of `x`, optional
        Given by a caller who has resolved it already; `x` must then be floating.

    Returns
    -------
    array
        Of the library, device, shape and floating dtype of `x`, between 0 and 1.

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
    axis = _along(x, axis)
    half = 0.5 * x  # the difference of two halves is finite
    root = xp.exp(half - xp.max(half, axis=axis, keepdims=True))
    e = root * root
    result: A = e / xp.sum(e, axis=axis, keepdims=True)
    return result


@_on_arrays
def log_softmax(x: A, /, axis: int = -1, *, xp: Namespace = None) -> A:
    """Logarithm of the softmax along one axis, accurate where the softmax itself underflows to 0.

    What lies further below the maximum than the dtype's largest number is -inf.

    Parameters
    ----------
    x : array of at least one dimension and any real dtype
    axis : int
        The axis along which the exponentials of the result sum to 1.
    xp : namespace of `x`, optional
        Given by a caller who has resolved it already; `x` must then be floating.

    Returns
    -------
    array
        Of the library, device, shape and floating dtype of `x`, at most 0.

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
    axis = _along(x, axis)
    largest = xp.max(x, axis=axis, keepdims=True)
    shifted = x - xp.where(largest < inf, largest, xp.zeros_like(largest))
    result: A = shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))
    return result


@_on_arrays
def _bounded_softmax(x: Array, /, *, xp: Namespace) -> Array:
    """Softmax of logits that are known to lie where exp neither overflows nor underflows."""
    e = xp.exp(x)
    return e / xp.sum(e, axis=-1, keepdims=True)


ACTIVATIONS: dict[str, Callable[..., Array]] = {
    function.__name__: function
    for function in (
        identity, step, sigmoid, tanh, relu, leaky_relu, elu, gelu, silu, softplus, softmax, log_softmax,
    )
}  # fmt: skip

ALONG_AXIS = frozenset({"softmax", "log_softmax"})
"""Activations of whole samples rather than of each value."""


def parameters_of(name: str) -> dict[str, float | None]:
    """The parameters of an activation by name with their defaults, None where one must be given."""
    found = signature(ACTIVATIONS[name]).parameters.values()
    keywords = [p for p in found if p.kind is p.KEYWORD_ONLY and p.name != "xp"]
    return {p.name: None if p.default is p.empty else p.default for p in keywords}


def is_strictly_increasing(name: str, parameters: Mapping[str, Any]) -> bool:
    """Whether an activation keeps the order of one sample's values, so that labels need not compute it."""
    return name in STRICTLY_INCREASING | {BOUNDED_SOFTMAX} and not parameters


def bounds(name: str, parameters: Mapping[str, Any]) -> tuple[float, float] | None:  # noqa: ARG001
    """The interval of an activation whose values cannot leave one."""
    return BOUNDS.get(name)


BOUNDED_SOFTMAX = "bounded_softmax"
"""What rewriting makes of a softmax whose logits it has bounded; no user may promise that."""

FUNCTIONS = ACTIVATIONS | {BOUNDED_SOFTMAX: _bounded_softmax}

STRICTLY_INCREASING = frozenset(
    {"identity", "sigmoid", "tanh", "leaky_relu", "elu", "softplus", "softmax", "log_softmax"}
)
"""Activations that keep the order of one sample's values, so that labels need not compute them."""

BOUNDS = {"step": (0, 1), "sigmoid": (0, 1), "softmax": (0, 1), "tanh": (-1, 1)}
"""The interval of an activation whose values cannot leave one."""
