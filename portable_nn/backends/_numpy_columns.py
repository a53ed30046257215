"""Dense layers one after another on NumPy, of many samples that stand in columns.

Above the values of a layer stands a row of ones, by which the next product adds the bias: to add it apart takes a
pass through the cache. In rows the ones would stand between the samples, and all that is done to values in place
would have to step over them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import cycle
from typing import TypeAlias

import numpy as np

from portable_nn._typing import Array
from portable_nn.backends._base import Forward
from portable_nn.backends._numpy_kernels import SPARING, Folded, Maker, folded
from portable_nn.layers import Activation

__all__ = [
    "COLUMNS",
    "SMALL",
    "Activated",
    "Chain",
    "Columns",
    "Finished",
    "Placed",
    "Rows",
    "chained",
    "in_parts",
]

COPIED = 4
"""A value of the input is copied into its column in the time of so many biases."""

SMALL = 10**6
"""Multiply-adds up to which a product is small to OpenBLAS, which packs nothing for it."""

COLUMNS = 16
"""A panel has a multiple of so many: those that a kernel computes at a time."""

FEWEST_COLUMNS, FEWEST_ROWS = 480, 200
"""Of fewer, more goes into calls than small products save; and as much where threads take turns in Python."""

APART, FEWEST_APART, TILE = 256, 512, 48 * 2**10
"""Rows of a multiple of `APART` bytes share few lines of a cache, which drops them before their next values are
taken: of more than `FEWEST_APART` rows `TILE` bytes are transposed at a time."""

MOST = 256
"""Inputs of a layer beside whose products, of as many numbers, the bias takes a fiftieth of the time."""

ROOM = 2**8
"""Weights that are this factor away from the ends of their dtype can take those of an activation."""

FEWEST_INPUTS = 8
"""Of fewer, a product rounds so little that to round its weights once more would show."""

STEEPEST = 4
"""A factor of an activation is between this and its inverse: results are as much nearer to overflow."""

Placed: TypeAlias = Callable[..., Array]
"""A step in places of its own; it may be given the place of its results as well."""

Activated: TypeAlias = Callable[..., Array]
"""An activation in place; those of `SPARING` may be given a flat place for what they compute on the way."""


@dataclass(frozen=True, eq=False)
class Rows:
    """A Dense for many samples in rows, with an activation in place.

    Attributes
    ----------
    weight, bias : arrays
    kernel : Activation
        The name and the parameters of the activation.
    finished : callable
        Adds the bias and computes the activation.
    activation : callable
        Makes the activation alone, of samples in columns or in rows, by another maker if it is given one.
    """

    weight: Array
    bias: Array
    kernel: Activation
    finished: Forward
    activation: Callable[[bool, Maker | None], Activated]

    def results(self, n: int) -> Array:
        """A place for those of n samples."""
        return np.empty((n, len(self.bias)), self.bias.dtype)

    def __call__(self, x: Array, out: Array = None) -> Array:
        return self.finished(np.matmul(x, self.weight, out=out))


def _in_panels(weight: Array, x: Array, out: Array) -> Array:
    """A product by so many columns at a time that each product is small."""
    n, columns = x.shape[1], SMALL // weight.size // COLUMNS * COLUMNS
    if not FEWEST_COLUMNS <= columns < n:
        return np.matmul(weight, x, out)
    for start in range(0, n, columns):
        panel = slice(start, start + columns)
        np.matmul(weight, x[:, panel], out[:, panel])
    return out


def in_parts(x: Array, weight: Array, out: Array) -> Array:
    """A product by so many rows at a time that each product is small."""
    n, rows = len(x), SMALL // weight.size
    if not FEWEST_ROWS <= rows < n:
        return np.matmul(x, weight, out)
    for start in range(0, n, rows):
        part = slice(start, start + rows)
        np.matmul(x[part], weight, out[part])
    return out


class Product(partial[Array]):
    """A product, which `Finished` follows: a call of each enters no function of Python before NumPy's."""


class Finished(partial[Array]):
    """The bias and the activation of a product."""

    rows: Rows
    """Both steps as one."""

    @classmethod
    def of(cls, rows: Rows) -> "tuple[Product, Finished]":
        """The steps of a Dense."""
        finished = cls(rows.finished)
        finished.rows = rows
        return Product(np.dot, b=rows.weight), finished


class Columns(partial[Array]):
    """A step that runs best on samples in columns."""


class Chain:
    """Dense layers one after another, whose results stay in columns where the step after them takes those.

    Attributes
    ----------
    taken : int
        Bytes of a sample in either of its places.
    """

    def __init__(self, layers: Sequence[Rows], in_columns: bool) -> None:
        folds = [*map(_folded, layers[:-1], layers[1:])]
        rates, scales = [fold.rate for fold in folds], [fold.scale for fold in folds]
        *weights, self._last = map(_multiplied, layers, [*rates, 1.0], [1.0, *scales])
        self._weights = [np.ascontiguousarray(weight.T) for weight in weights]
        self._activations = [
            layer.activation(True, fold.maker) for layer, fold in zip(layers, folds, strict=False)
        ]
        self._in_columns = in_columns
        self._final = layers[-1].activation(in_columns, None)
        self._units = [len(layer.weight) for layer in layers]
        self.taken: int = max(self._units) * self._last.itemsize
        self._spares = [layer.kernel.name in SPARING and not layer.kernel.arrays for layer in layers[:-1]]

    def results(self, n: int) -> Array:
        """A place for those of n samples, in rows."""
        return np.empty((n, self._last.shape[1]), self._last.dtype)

    def placed(self, rows: int, alone: bool) -> Placed:
        """A step for so many samples at most, in two places in which layers take turns.

        Between two operations, which leave nothing else in a core's cache, all of Python is slow, and keeps other
        threads from theirs: what does not change from block to block is made once.
        """
        product = _in_panels if alone else np.matmul
        taken = self._units[0] * self._last.itemsize
        tile = TILE // taken if taken % APART == 0 and rows > FEWEST_APART else rows
        places = [np.empty((max(self._units) + 1) * rows, self._last.dtype) for _ in range(2)]

        @lru_cache(1)
        def parts(n: int) -> tuple[Array, list[tuple[Array, Array, Array, Activated, tuple[Array, ...]]], Array]:
            for place in places:
                place[:n] = 1
            wholes = [
                place[: (units + 1) * n].reshape(units + 1, n)
                for place, units in zip(cycle(places), self._units, strict=False)
            ]
            values = [whole[1:] for whole in wholes]
            spares = [
                (place[n : (units + 1) * n],) if spares else ()
                for place, units, spares in zip(cycle(places), self._units[1:], self._spares, strict=False)
            ]
            hidden = zip(self._weights, wholes[:-1], values[1:], self._activations, spares, strict=True)
            return values[0], [*hidden], wholes[-1]

        def forward(x: Array, out: Array = None) -> Array:
            given, hidden, whole = parts(len(x))
            for start in range(0, len(x), tile):
                given[:, start : start + tile] = x[start : start + tile].T
            for weight, before, values, activation, spare in hidden:
                activation(product(weight, before, values), *spare)
            if self._in_columns:
                return self._final(np.matmul(self._last.T, whole)).T
            return self._final(np.matmul(whole.T, self._last, out=out))

        return forward


def _folded(layer: Rows, after: Rows) -> Folded:
    """The activation of a layer with its factors in the weights of both, if they keep their digits."""
    fold = folded(layer.kernel.name, **layer.kernel.parameters)
    is_kept = (
        len(layer.weight) >= FEWEST_INPUTS
        and 1 / STEEPEST <= abs(fold.scale) <= STEEPEST
        and all(map(_has_room, (layer.weight, layer.bias, after.weight)))
    )
    return fold if is_kept else Folded()


def _has_room(weight: Array) -> bool:
    sizes, ends = np.abs(weight), np.finfo(weight.dtype)
    return bool(np.all((sizes == 0) | ((sizes > ends.tiny * ROOM) & (sizes < ends.max / ROOM))))


def _multiplied(layer: Rows, rate: float, scale: float) -> Array:
    """The bias above the weights, for results times `rate` of samples times `scale`; rounded once."""
    weight = np.vstack([layer.bias * np.float64(rate), layer.weight * np.float64(rate / scale)])
    return weight.astype(layer.weight.dtype)


def chained(given: Sequence[Forward]) -> list[Forward | Chain]:
    """The steps, each Dense one of them, and with chains in place of those that they compute better."""
    steps = [step.rows if isinstance(step, Finished) else step for step in given if not isinstance(step, Product)]
    found: list[Forward | Chain] = []
    while steps:
        n = next((i for i, step in enumerate(steps) if not isinstance(step, Rows)), len(steps))
        layers = [step for step in steps[:n] if isinstance(step, Rows)]
        if n > 1 and _pays(layers):
            after = steps[n] if n < len(steps) else None
            found.append(Chain(layers, isinstance(after, Columns)))
            steps = steps[n:]
        else:
            found.append(steps[0])
            steps = steps[1:]
    return found


def _pays(layers: Sequence[Rows]) -> bool:
    """Whether columns are faster; an infinite bias is none for a product, which may multiply it by 0."""
    inputs = [len(layer.weight) for layer in layers]
    units = sum(len(layer.bias) for layer in layers)
    are_finite = all(np.isfinite(layer.bias).all() for layer in layers)
    return max(inputs) <= MOST and COPIED * inputs[0] <= units and are_finite
