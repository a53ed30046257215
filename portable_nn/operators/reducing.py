"""Operators along axes: sums, extremes, their places, and normalisations."""

from collections.abc import Callable
from math import inf
from typing import Any

from portable_nn._typing import Array, Namespace
from portable_nn.errors import NetworkError
from portable_nn.operators._common import Host, Table, host_ints
from portable_nn.operators.elementwise import divide

__all__ = ["REDUCING"]


def total(x: Array, xp: Namespace, **along: Any) -> Array:
    """The sum, of the dtype of the values."""
    return xp.sum(x, dtype=x.dtype, **along)


def product(x: Array, xp: Namespace, **along: Any) -> Array:
    """The product, of the dtype of the values."""
    return xp.prod(x, dtype=x.dtype, **along)


def mean(x: Array, xp: Namespace, **along: Any) -> Array:
    """The mean, of integers rounded towards 0."""
    if not xp.isdtype(x.dtype, "integral"):
        return xp.mean(x, **along)
    ones = total(xp.ones_like(x), xp, **along)
    return divide(total(x, xp, **along), ones, xp=xp)


def largest(x: Array, xp: Namespace, **along: Any) -> Array:
    """The largest value, of none minus infinity."""
    if xp.isdtype(x.dtype, "bool"):
        return xp.any(x, **along)
    return total(x, xp, **along) - inf if 0 in x.shape else xp.max(x, **along)


def smallest(x: Array, xp: Namespace, **along: Any) -> Array:
    """The smallest value, of none infinity."""
    if xp.isdtype(x.dtype, "bool"):
        return xp.all(x, **along)
    return total(x, xp, **along) + inf if 0 in x.shape else xp.min(x, **along)


def size_1(x: Array, xp: Namespace, **along: Any) -> Array:
    """The sum of absolute values."""
    return total(xp.abs(x), xp, **along)


def square_sum(x: Array, xp: Namespace, **along: Any) -> Array:
    """The sum of squares."""
    return total(x * x, xp, **along)


def size_2(x: Array, xp: Namespace, **along: Any) -> Array:
    """The root of the sum of squares."""
    squares = square_sum(x, xp, **along)
    if xp.isdtype(x.dtype, "integral"):
        return xp.astype(xp.sqrt(xp.astype(squares, xp.float32)), x.dtype)
    return xp.sqrt(squares)


def log_sum(x: Array, xp: Namespace, **along: Any) -> Array:
    """The logarithm of the sum."""
    return xp.log(total(x, xp, **along))


def log_sum_exp(x: Array, xp: Namespace, axis: Any, keepdims: bool) -> Array:
    """The logarithm of the sum of exponentials, without overflow."""
    if 0 in x.shape:
        return log_sum(xp.exp(x), xp, axis=axis, keepdims=keepdims)
    most = xp.max(x, axis=axis, keepdims=True)
    most = xp.where(xp.isfinite(most), most, xp.zeros_like(most))
    found = log_sum(xp.exp(x - most), xp, axis=axis, keepdims=True) + most
    return found if keepdims else xp.squeeze(found, axis=axis)


def by_attribute(reduce: Callable[..., Array]) -> Callable[..., Array]:
    """A reduction whose axes are an attribute."""

    def function(x: Array, *, xp: Namespace, axes: tuple[int, ...] = (), keepdims: int = 1) -> Array:
        return reduce(x, xp, axis=_axes(x, axes), keepdims=bool(keepdims))

    return function


def by_input(reduce: Callable[..., Array]) -> Callable[..., Array]:
    """A reduction whose axes are an input."""

    def function(
        x: Array, axes: Host = None, *, xp: Namespace, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Array:
        along = () if axes is None else host_ints(axes)
        if not along and noop_with_empty_axes:
            return reduce(x[None, ...], xp, axis=(0,), keepdims=False)
        return reduce(x, xp, axis=_axes(x, along), keepdims=bool(keepdims))

    return function


def _axes(x: Array, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axis % x.ndim for axis in axes) or tuple(range(x.ndim))


def place(name: str) -> Callable[..., Array]:
    """Where the largest or smallest value is; the first of equals, or the last."""

    def function(
        x: Array, *, xp: Namespace, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
    ) -> Array:
        find = getattr(xp, name)
        if not select_last_index:
            return find(x, axis=axis, keepdims=bool(keepdims))
        return x.shape[axis] - 1 - find(xp.flip(x, axis=axis), axis=axis, keepdims=bool(keepdims))

    return function


def cumulative_sum(x: Array, axis: Host, *, xp: Namespace, exclusive: int = 0, reverse: int = 0) -> Array:
    """The sum of all values up to each, with it or without."""
    (along,) = host_ints(axis)
    along %= x.ndim
    if reverse:
        x = xp.flip(x, axis=along)
    y = xp.cumulative_sum(x, axis=along, dtype=x.dtype, include_initial=bool(exclusive))
    if exclusive:
        y = y[(slice(None),) * along + (slice(None, -1), ...)]
    return xp.flip(y, axis=along) if reverse else y


def layer_normalization(
    x: Array,
    scale: Array,
    offset: Array = None,
    *,
    xp: Namespace,
    outputs: int,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Any:
    """Mean 0 and variance 1 over the axes from one on, scaled; also the mean and the inverse deviation."""
    axes = tuple(range(axis % x.ndim, x.ndim))
    middle = xp.mean(x, axis=axes, keepdims=True)
    centred = x - middle
    inverse = 1 / xp.sqrt(xp.mean(centred * centred, axis=axes, keepdims=True) + epsilon)
    y = centred * inverse * scale
    if offset is not None:
        y = y + offset
    return (y, middle, inverse)[:outputs] if outputs > 1 else y


def rms_normalization(
    x: Array, scale: Array, *, xp: Namespace, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Array:
    """Mean square 1 over the axes from one on, then scaled."""
    axes = tuple(range(axis % x.ndim, x.ndim))
    return x / xp.sqrt(xp.mean(x * x, axis=axes, keepdims=True) + epsilon) * scale


def batch_normalization(
    x: Array,
    scale: Array,
    offset: Array,
    mean: Array,
    variance: Array,
    *,
    xp: Namespace,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    spatial: int = 1,
) -> Array:
    """Each feature with the mean and variance that were met in training, then scaled."""
    if training_mode or not spatial:
        raise NetworkError("in training mode, or not per feature, it is not computed")
    factor = scale / xp.sqrt(variance + epsilon)
    shape = (-1,) + (1,) * (x.ndim - 2)
    return (x - xp.reshape(mean, shape)) * xp.reshape(factor, shape) + xp.reshape(offset, shape)


def lp_normalization(x: Array, *, xp: Namespace, axis: int = -1, p: int = 2) -> Array:
    """Divided by the sum of absolute values along an axis, or the root of that of squares; 0 stays 0."""
    if p not in (1, 2):
        raise NetworkError(f"LpNormalization with p = {p}: 1 or 2 is computed")
    size = (size_1 if p == 1 else size_2)(x, xp, axis=axis, keepdims=True)
    return x / xp.where(size == 0, xp.ones_like(size), size)


def top_k(
    x: Array,
    k: Host,
    *,
    xp: Namespace,
    axis: int = -1,
    largest: int = 1,
    sorted: int = 1,  # noqa: A002
) -> tuple[Array, Array]:
    """The first values of a sort along an axis, and where they are."""
    first = (slice(None),) * (axis % x.ndim) + (slice(*host_ints(k)), ...)
    order = xp.argsort(x, axis=axis, descending=bool(largest), stable=True)
    return xp.sort(x, axis=axis, descending=bool(largest), stable=True)[first], order[first]


def top_k_by_attribute(x: Array, *, xp: Namespace, k: int, axis: int = -1) -> tuple[Array, Array]:
    """As `top_k`, of the largest."""
    return top_k(x, (k,), xp=xp, axis=axis)


REDUCTIONS: dict[str, tuple[int, Callable[..., Array]]] = {
    "ReduceSum": (13, total), "ReduceMean": (18, mean), "ReduceProd": (18, product), "ReduceMax": (18, largest),
    "ReduceMin": (18, smallest), "ReduceL1": (18, size_1), "ReduceL2": (18, size_2),
    "ReduceLogSum": (18, log_sum), "ReduceLogSumExp": (18, log_sum_exp), "ReduceSumSquare": (18, square_sum),
}  # fmt: skip
"""Each with the opset from which on its axes are an input."""

REDUCING: Table = {
    **{name: {7: by_attribute(f), since: by_input(f)} for name, (since, f) in REDUCTIONS.items()},
    "ArgMax": {7: place("argmax")},
    "ArgMin": {7: place("argmin")},
    "CumSum": {11: cumulative_sum},
    "LayerNormalization": {17: layer_normalization},
    "RMSNormalization": {23: rms_normalization},
    "BatchNormalization": {7: batch_normalization},
    "LpNormalization": {7: lp_normalization},
    "TopK": {7: top_k_by_attribute, 10: top_k},
}
"""By name, and by the opset from which on they are so."""
