"""One sample of NumPy's arrays: a row by a matrix, in as few calls as may be."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np

from portable_nn._typing import Array, DType
from portable_nn.backends._base import Forward, forward_pass
from portable_nn.backends._numpy_kernels import KERNELS, OF_ONE
from portable_nn.layers import Activation, Dense, Layer

BLOCK = 2**16
"""Values that stay in a core's cache: in the widest layer of a block of rows, and in what is finished at once."""

NARROW, WIDE, UNITS = 16, 256, 4
"""A hidden layer between `NARROW` and `WIDE` runs best with a multiple of `UNITS`, for one sample: OpenBLAS takes
half as long again for a row by 50 columns as by 52."""

LINE, FEW = 64, 2**22
"""Bytes of a line of the cache, and of the largest weights that are copied to begin with one: the product of one
row with others takes a tenth longer."""


Pair: TypeAlias = tuple[Layer, Activation]
"""A layer and the activation that is computed with it, in place: the identity where it is none of those."""

IDENTITY = Activation("identity")


def widened(pairs: list[Pair]) -> list[Pair]:
    """Hidden layers of a multiple of `UNITS` units: some are there twice, and are read by halves."""
    wider = list(pairs)
    for i, ((layer, kernel), (after, _)) in enumerate(pairwise(pairs)):
        match layer, after:
            case Dense(bias=bias), Dense() if NARROW < len(bias) < WIDE and len(bias) % UNITS:
                twice = np.r_[: len(bias), : -len(bias) % UNITS]
                halves = np.where(np.bincount(twice)[twice] == 2, 0.5, 1.0).astype(after.weight.dtype)
                weight = after.weight[twice] * halves[:, None]
                wide = Dense(wider[i][0].arrays["weight"][:, twice], bias[twice])
                wider[i] = wide, kernel.map(itemgetter(twice))
                wider[i + 1] = Dense(weight, after.bias), wider[i + 1][1]
    return wider


@dataclass(frozen=True, eq=False)
class Row:
    """A Dense for one sample, with an activation in place."""

    weight: Array
    bias: Array
    activation: Forward

    def __call__(self, x: Array) -> Array:
        x = x.dot(self.weight)
        x += self.bias
        return self.activation(x)


def one_sample(layer: Dense, kernel: Activation, leading: int | None) -> Row:
    bias = layer.bias[None] if leading else layer.bias
    return Row(_aligned(layer.weight), bias, of_one(kernel, bias.dtype, leading, np.zeros_like(bias)))


def one_by_one(steps: tuple[Forward, ...]) -> Forward:
    """The forward pass of one sample, in places that are used again: as many as there are calls at a time.

    Behind what goes from one layer to the next stands a 1, by which the product adds the bias: to add it apart
    takes as long as the product.
    """
    with_bias = {
        i: _aligned(np.vstack([after.weight, np.atleast_2d(after.bias)]))
        for i, (before, after) in enumerate(pairwise(steps), start=1)
        if isinstance(before, Row) and isinstance(after, Row) and after.weight.nbytes <= FEW
    }
    free: list[tuple[Forward, ...]] = []

    def forward(x: Array) -> Array:
        try:
            own = free.pop()
        except IndexError:
            own = tuple(
                _placed(step, with_bias.get(i), i + 1 in with_bias) if isinstance(step, Row) else step
                for i, step in enumerate(steps)
            )
        for step in own:
            x = step(x)
        free.append(own)
        return x

    return forward if with_bias else forward_pass(steps)


def _placed(row: Row, with_bias: Array | None, goes_on: bool) -> Forward:
    """A layer that has its bias in its weights if there are such, and leaves a 1 for the next if that has."""
    activation, bias = row.activation, row.bias
    place = np.ones((*bias.shape[:-1], bias.shape[-1] + 1), bias.dtype)
    values = place[..., :-1]

    def first(x: Array) -> Array:
        x.dot(row.weight, values)
        np.add(values, bias, values)
        activation(values)
        return place

    def middle(x: Array) -> Array:
        x.dot(with_bias, values)
        activation(values)
        return place

    def last(x: Array) -> Array:
        return activation(x.dot(with_bias))

    if with_bias is None:
        return first if goes_on else row
    return middle if goes_on else last


def one_sum(layer: Dense) -> Callable[[Array, Array], Array]:
    weight, bias = _aligned(layer.weight), layer.bias[None]
    activation = of_one(IDENTITY.with_name(layer.activation), bias.dtype, 1, np.zeros_like(bias))

    def summed(x: Array, other: Array) -> Array:
        x = x.dot(weight)
        x += bias
        x += other
        return activation(x)

    return summed


def _aligned(weight: Array) -> Array:
    if weight.ctypes.data % LINE == 0 or weight.nbytes > FEW:
        return weight
    room = np.empty(weight.nbytes + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    copy = room[start : start + weight.nbytes].view(weight.dtype).reshape(weight.shape)
    copy[...] = weight
    return copy


def of_one(kernel: Activation, dtype: DType, leading: int | None, zero: Array = None) -> Forward:
    """The activation of one sample."""

    def number(value: Any) -> Array:
        array = np.array(value, dtype)
        return array[None] if leading and array.ndim else array

    zeros = zeros_like if zero is None else lambda _: zero
    return (KERNELS | OF_ONE)[kernel.name](number, zeros, **kernel.parameters)


_ZEROS: dict[DType, Array] = {}


def zeros_like(x: Array) -> Array:
    """Zeros that nobody writes to, so that the system backs all of them by one page."""
    zeros = _ZEROS.get(x.dtype)
    if zeros is None or zeros.size < x.size:
        zeros = _ZEROS[x.dtype] = np.zeros(max(x.size, BLOCK), x.dtype)
    zeros = zeros[: x.size]
    return zeros if x.ndim == 1 else zeros.reshape(x.shape)
