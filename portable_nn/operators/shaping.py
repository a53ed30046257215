"""Operators that change shapes: values are moved, joined, taken and repeated."""

from itertools import accumulate
from math import prod
from typing import Any

import numpy as np

from portable_nn._typing import Array, DType, Namespace, NumPyArray
from portable_nn.errors import ShapeError
from portable_nn.operators._common import (
    Fixed,
    Host,
    Known,
    Repeated,
    Table,
    View,
    beside,
    check_size,
    host_ints,
    shape_of,
)
from portable_nn.operators.elementwise import cast

__all__ = ["SHAPING"]

EVERYTHING = slice(None)

FEW = 64
"""Places along an axis that are looked at: a slice may take them."""


def reshape(x: Array, shape: Host, *, xp: Namespace, allowzero: int = 0) -> View:
    """Another shape: 0 keeps a length, -1 is what is left."""
    given, wanted = shape_of(x), list(host_ints(shape))
    kept = [i for i, n in enumerate(wanted) if i < len(given) and n == 0 and (not allowzero or given[i] == 0)]
    for i in kept:
        wanted[i] = given[i]
    if wanted.count(-1) == 1:  # what is kept is not counted: one of its lengths may be 0
        others = prod(n for i, n in enumerate(wanted) if i not in kept and n != -1)
        rest = prod(n for i, n in enumerate(given) if i not in kept)
        wanted[wanted.index(-1)] = rest // others if others else 0
    if min(wanted, default=0) < 0 or prod(wanted) != prod(given):
        raise ShapeError(f"an array of shape {given} does not take shape {host_ints(shape)}")
    return xp.reshape(x, tuple(wanted))


def flatten(x: Array, *, xp: Namespace, axis: int = 1) -> View:
    """Two dimensions: the axes before one, and those from it on."""
    shape = shape_of(x)
    axis = axis + len(shape) if axis < 0 else axis
    return xp.reshape(x, (prod(shape[:axis]), prod(shape[axis:])))


def squeeze(x: Array, axes: Host = None, *, xp: Namespace) -> View:
    """Without axes of length 1."""
    return squeeze_by_attribute(x, xp=xp, axes=() if axes is None else host_ints(axes))


def squeeze_by_attribute(x: Array, *, xp: Namespace, axes: tuple[int, ...] = ()) -> View:
    """As `squeeze`."""
    return xp.squeeze(x, axis=tuple(axes) or tuple(i for i, n in enumerate(x.shape) if n == 1))


def unsqueeze(x: Array, axes: Host, *, xp: Namespace) -> View:
    """With axes of length 1 more."""
    return unsqueeze_by_attribute(x, xp=xp, axes=host_ints(axes))


def unsqueeze_by_attribute(x: Array, *, xp: Namespace, axes: tuple[int, ...]) -> View:
    """As `unsqueeze`."""
    ndim = x.ndim + len(axes)
    for axis in sorted(axis % ndim for axis in axes):
        x = xp.expand_dims(x, axis=axis)
    return x


def transpose(x: Array, *, xp: Namespace, perm: tuple[int, ...] = ()) -> View:
    """Axes in another order."""
    return xp.permute_dims(x, tuple(perm) or tuple(range(x.ndim))[::-1])


def concat(*arrays: Array, xp: Namespace, axis: int) -> Array:
    """One after the other along an axis."""
    return xp.concat(arrays, axis=axis)


def parts(
    x: Array, lengths: Host = None, *, xp: Namespace, outputs: int, axis: int = 0, num_outputs: int = 0
) -> tuple[View, ...]:
    """Parts along an axis, of given lengths, or of one length with the last one shorter."""
    n = x.shape[axis]
    if lengths is not None:
        pieces = host_ints(lengths)
    else:
        count = num_outputs or outputs
        most = -(-n // count)
        pieces = tuple(max(0, min(most, n - i * most)) for i in range(count))
    if sum(pieces) != n:
        raise ShapeError(f"an axis of {n} values does not split into {pieces}")
    before = (EVERYTHING,) * (axis % x.ndim)
    ends = tuple(accumulate(pieces))
    return tuple(x[(*before, slice(end - part, end), ...)] for part, end in zip(pieces, ends, strict=True))


def split_by_attribute(
    x: Array, *, xp: Namespace, outputs: int, axis: int = 0, split: tuple[int, ...] = ()
) -> tuple[View, ...]:
    """As `parts`."""
    return parts(x, split or None, xp=xp, outputs=outputs, axis=axis)


def cut(x: Array, starts: Host, ends: Host, axes: Host = None, steps: Host = None, *, xp: Namespace) -> View:
    """From starts to ends along axes, by steps; negative ones go backwards."""
    first, last = host_ints(starts), host_ints(ends)
    along = tuple(range(len(first))) if axes is None else host_ints(axes)
    by = (1,) * len(first) if steps is None else host_ints(steps)
    parts, backwards = [EVERYTHING] * x.ndim, []
    for axis, start, end, step in zip(along, first, last, by, strict=True):
        places = range(*slice(start, end, step).indices(x.shape[axis]))
        if step < 0 and places:
            places = places[::-1]
            backwards.append(axis)
        parts[axis] = slice(places[0], places[-1] + 1, places.step) if places else slice(0, 0)
    x = x[tuple(parts)]
    return xp.flip(x, axis=tuple(backwards)) if backwards else x


def cut_by_attributes(
    x: Array, *, xp: Namespace, starts: tuple[int, ...], ends: tuple[int, ...], axes: tuple[int, ...] = ()
) -> View:
    """As `cut`, without steps."""
    return cut(x, starts, ends, axes or None, xp=xp)


def gather(x: Array, indices: Known, *, xp: Namespace, axis: int = 0) -> View:
    """Values at places along an axis, counted from the end where they are negative."""
    axis %= x.ndim
    before, after, n = tuple(x.shape[:axis]), tuple(x.shape[axis + 1 :]), x.shape[axis]
    shape = tuple(indices.shape)
    if isinstance(indices, Fixed):
        part = _evenly(indices.values, n) if len(indices.values) <= FEW else None
        if part is not None:
            found = x[(EVERYTHING,) * axis + (part, ...)]
            return found if len(shape) == 1 else xp.reshape(found, (*before, *shape, *after))
        flat = beside(x, [place % n for place in indices.values], xp)
    else:
        flat = xp.reshape(xp.where(indices < 0, indices + n, indices), (-1,))
    found = xp.take(x, flat, axis=axis)
    return found if len(shape) == 1 else xp.reshape(found, (*before, *shape, *after))


def _evenly(places: tuple[int, ...], n: int) -> slice | None:
    """The slice that takes these places, None where none does."""
    if not all(-n <= place < n for place in places):
        raise ShapeError(f"an axis of {n} values has no places {places}")
    if not places:
        return slice(0, 0)
    places = tuple(place % n for place in places)
    step = places[1] - places[0] if len(places) > 1 else 1
    found = slice(places[0], places[-1] + 1, step) if step > 0 else None
    return found if found and tuple(range(n)[found]) == places else None


def gather_elements(x: Array, indices: Array, *, xp: Namespace, axis: int = 0) -> Array:
    """Values at a place of their own each, along an axis: places are counted through the whole array."""
    axis %= x.ndim
    shape, wanted = shape_of(x), shape_of(indices)
    steps = [prod(shape[i + 1 :]) for i in range(x.ndim)]
    others = sum(np.indices(wanted)[i] * steps[i] for i in range(x.ndim) if i != axis)
    places = xp.where(indices < 0, indices + shape[axis], indices) * steps[axis]
    places = places + beside(indices, others, xp, indices.dtype)
    return xp.reshape(xp.take(xp.reshape(x, (-1,)), xp.reshape(places, (-1,)), axis=0), wanted)


def expand(x: Array, shape: Host, *, xp: Namespace) -> Repeated:
    """Repeated as broadcasting repeats."""
    return xp.broadcast_to(x, check_size(np.broadcast_shapes(shape_of(x), host_ints(shape))))


def tile(x: Array, repeats: Host, *, xp: Namespace) -> Array:
    """Repeated whole, so often along each axis."""
    times = host_ints(repeats)
    check_size(tuple(n * k for n, k in zip(shape_of(x), times, strict=True)))
    return xp.tile(x, times)


def shape(x: Array, *, xp: Namespace, start: int = 0, end: int | None = None) -> NumPyArray:
    """The shape, on the host."""
    return np.array(shape_of(x)[start:end], np.int64)


def size(x: Array, *, xp: Namespace) -> NumPyArray:
    """The number of values, on the host."""
    return np.array(prod(shape_of(x)), np.int64)


def constant(*, xp: Namespace, **values: Any) -> NumPyArray:
    """What an attribute holds, on the host."""
    ((name, value),) = values.items()
    return np.asarray(value, np.float32 if "float" in name else np.int64 if "int" in name else None)


def constant_of_shape(shape: Host, *, xp: Namespace, value: NumPyArray | None = None) -> NumPyArray:
    """One value everywhere, on the host."""
    one = np.zeros(1, np.float32) if value is None else value
    return np.full(check_size(host_ints(shape)), one.reshape(()), one.dtype)


def arange(start: Host, limit: Host, delta: Host, *, xp: Namespace) -> NumPyArray:
    """Numbers in even steps, on the host."""
    count = max(0, int(np.ceil((limit.item() - start.item()) / delta.item())))
    steps: NumPyArray = np.arange(check_size((count,))[0]).astype(delta.dtype)
    return start + steps * delta  # type: ignore[no-any-return]


def eye_like(x: Array, *, xp: Namespace, floating: DType, k: int = 0, dtype: int = 0) -> Array:
    """Ones on a diagonal of an array like `x`."""
    rows, columns = check_size(shape_of(x))
    ones = beside(x, np.eye(rows, columns, k), xp, x.dtype)
    return cast(ones, xp=xp, floating=floating, to=dtype) if dtype else ones


def triangle(x: Array, k: Host = None, *, xp: Namespace, upper: int = 1) -> Array:
    """What is on one side of a diagonal, else 0."""
    (diagonal,) = (0,) if k is None else host_ints(k)
    return (xp.triu if upper else xp.tril)(x, k=diagonal)


def one_hot(indices: Array, depth: Host, values: Array, *, xp: Namespace, axis: int = -1) -> Array:
    """The second of two values at each index along a new axis, elsewhere the first."""
    (n,) = check_size(host_ints(depth))
    axis %= indices.ndim + 1
    places = beside(indices, np.arange(n).reshape(-1, *(1,) * (indices.ndim - axis)), xp, indices.dtype)
    wanted = xp.expand_dims(xp.where(indices < 0, indices + n, indices), axis=axis)
    return xp.where(wanted == places, values[1], values[0])


def pad(
    x: Array, widths: Host, value: Array = None, axes: Host = None, *, xp: Namespace, mode: str = "constant"
) -> View:
    """More values before and after along axes: one value, or by a mode of NumPy's `pad`.

    Negative widths take away.
    """
    along = tuple(range(x.ndim)) if axes is None else host_ints(axes)
    given = host_ints(widths)
    for axis, before, after in zip(along, given[: len(along)], given[len(along) :], strict=True):
        n = shape_of(x)[axis]
        check_size(
            (n + max(0, before) + max(0, after), *(m for i, m in enumerate(x.shape) if i != axis % x.ndim))
        )
        if mode == "constant":
            x = _padded(x, value, axis % x.ndim, before, after, xp)
        elif before or after:
            places = np.pad(np.arange(n), (max(0, before), max(0, after)), mode=mode)  # type: ignore[call-overload]
            kept = places[max(0, -before) : len(places) - max(0, -after)]
            x = xp.take(x, beside(x, kept, xp), axis=axis)
    return x


def _padded(x: Array, value: Array, axis: int, before: int, after: int, xp: Namespace) -> Array:
    n = x.shape[axis]
    x = x[(EVERYTHING,) * axis + (slice(max(0, -before), n - max(0, -after)), ...)]

    def block(width: int) -> Array:
        shape = (*x.shape[:axis], width, *x.shape[axis + 1 :])
        one = beside(x, 0, xp, x.dtype) if value is None else value
        return xp.broadcast_to(xp.reshape(one, (1,) * x.ndim), shape)

    parts = [*([block(before)] if before > 0 else []), x, *([block(after)] if after > 0 else [])]
    return xp.concat(parts, axis=axis) if len(parts) > 1 else x


def pad_by_attributes(
    x: Array, *, xp: Namespace, pads: tuple[int, ...], mode: str = "constant", value: float = 0.0
) -> View:
    """As `pad`."""
    return pad(x, pads, beside(x, value, xp, x.dtype), xp=xp, mode=mode)


SHAPING: Table = {
    "Reshape": {7: reshape},
    "Flatten": {7: flatten},
    "Squeeze": {7: squeeze_by_attribute, 13: squeeze},
    "Unsqueeze": {7: unsqueeze_by_attribute, 13: unsqueeze},
    "Transpose": {7: transpose},
    "Concat": {7: concat},
    "Split": {7: split_by_attribute, 13: parts},
    "Slice": {7: cut_by_attributes, 10: cut},
    "Gather": {7: gather},
    "GatherElements": {11: gather_elements},
    "Expand": {8: expand},
    "Tile": {7: tile},
    "Shape": {7: shape},
    "Size": {7: size},
    "Constant": {7: constant},
    "ConstantOfShape": {9: constant_of_shape},
    "Range": {11: arange},
    "EyeLike": {9: eye_like},
    "Trilu": {14: triangle},
    "OneHot": {9: one_hot},
    "Pad": {7: pad_by_attributes, 11: pad},
}
"""By name, and by the opset from which on they are so."""
