"""NumPy's steps over blocks of rows, which stay in a core's cache and are computed where those before were."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import cycle
from math import prod, sqrt
from operator import itemgetter
from threading import Lock
from typing import Any

import numpy as np

from portable_nn._arrays import each
from portable_nn._typing import Array, DType
from portable_nn.backends._base import Forward, forward_pass
from portable_nn.backends._numpy_columns import Chain, Placed, Rows, chained, in_parts
from portable_nn.layers import Activation, Dense, Graph, Layer
from portable_nn.threads import VALUE, given, is_alone, not_taken, of_blas, with_others

__all__ = ["FEWEST", "KEPT", "ROWS", "SHARED", "Blocks", "Cast", "sharing"]

ROWS = 200
"""A block has a multiple of so many rows: a product packs its weights anew for each."""

FEWEST = 2 * ROWS
"""Samples that are shared out at all: two threads have a block each."""

HANDED = 2**22
"""Multiply-adds that take as long as to hand work to other threads, and to wait for the last."""

TURNS = 6 * 2**17
"""Multiply-adds that take as long as one more thread's turns in Python, between the operations of a layer."""

SHARED = 2**21
"""Values in the widest layer of the blocks that several threads compute at a time, unless blocks are larger: they
take turns between any two operations, which takes longer than an operation on few values."""

CHAINED, FEWEST_CHAINED = 3 * 2**18, 1000
"""Bytes that a block of a chain, for several threads, takes in either of its places, so that a cache holds both,
unless a block of one thread takes more; and the rows that are worth the turns."""

KEPT = 2**21
"""Values in places that are kept for the next call: of more it is all the same to take them anew."""


def sharing(layers: tuple[Layer, ...]) -> Callable[[int], int]:
    """The number of threads that so many samples are best shared out to, 1 where the BLAS has its own.

    A thread of ours computes activations as well. Where there are fewer than the BLAS has, products take longer.
    """
    products = sum(layer.weight.size for layer in layers if isinstance(layer, Dense))
    values = units = 0
    for layer in layers:
        match layer:
            case Dense(activation=name, bias=bias):
                units = len(bias)
                values += units if name != "identity" else 0
            case Activation():
                values += units
            case Graph(shapes=shapes):
                values += sum(map(prod, shapes.values()))
    activations, turns = VALUE * values, TURNS * len(layers)

    def threads(n: int) -> int:
        if n < FEWEST or n * activations < HANDED:
            return 1
        of_all = min(given(), of_blas())
        best = sqrt(n * (activations + products) / turns)
        ours = max(1, min(of_all, n // ROWS, round(best)))
        saved = activations * (1 - 1 / ours) - products * (1 / ours - 1 / of_all)
        return ours if n * saved > HANDED + turns * (ours - 1) else 1

    return threads


class Blocks:
    """Steps over blocks of rows, for each of which places hold so many values at most.

    Places are used again, by one thread at a time: new ones would have to be backed by the system.
    """

    def __init__(self, steps: tuple[Forward, ...], held: int) -> None:
        self._steps = chained(steps)
        self._held = held
        self._free: list[tuple[int, bool, Placed]] = []

    def shared(self, threads: int, widest: int) -> int:
        """The rows of a block of several threads, of so many values in the widest layer.

        A chain alone computes enough between turns for its blocks to be small; softmax does not.
        """
        rows = SHARED // (threads * widest)
        only = self._steps[0] if len(self._steps) == 1 else None
        in_cache = CHAINED // only.taken if isinstance(only, Chain) else 0
        return min(rows, in_cache) if in_cache >= FEWEST_CHAINED else rows

    def __call__(self, samples: Any, n: int, rows: int, threads: int) -> Any:
        """Blocks of so many rows of the n, each by a thread that is free."""
        blocks = deque(slice(start, min(start + rows, n)) for start in range(0, n, rows))
        last = self._steps[-1]
        found: list[Any] = [last.results(n)] if isinstance(last, (Chain, Rows)) else []
        finding = Lock()

        def run() -> None:
            alone = threads == 1 and is_alone() and of_blas() == 1
            most, forward = self._taken(rows, alone)
            try:
                for block in not_taken(blocks):
                    some = each(itemgetter(block), samples)
                    if isinstance(last, (Chain, Rows)):
                        forward(some, found[0][block])
                        continue
                    results = forward(some)
                    with finding:
                        if not found:
                            found.append(each(partial(_of_rows, n), results))
                    _write(found[0], block, results)
            finally:
                blocks.clear()  # after an error nobody goes on
            if most * self._held <= KEPT:
                self._free.append((most, alone, forward))

        if threads == 1:
            run()
        else:
            with_others(run, threads)
        return found[0]

    def _taken(self, rows: int, alone: bool) -> tuple[int, Placed]:
        """The steps in places for so many rows or more that nobody has, and for how many."""
        with suppress(IndexError):  # none is free, or another thread was first
            while True:
                most, was_alone, forward = self._free.pop()
                if most >= rows and was_alone == alone:
                    return most, forward
        *others, last = _placed(self._steps, rows, alone)
        first = forward_pass(tuple(others))
        return rows, lambda x, *out: last(first(x), *out)


def _of_rows(n: int, array: Array) -> Array:
    return np.empty((n, *array.shape[1:]), array.dtype)


class Cast(partial[Array]):
    """A cast, which a block does into the place of the one before."""


def _placed(steps: list[Forward | Chain], rows: int, alone: bool) -> Iterator[Placed]:
    """Each step for so many rows at most, with a product or cast in the place of the one before.

    A C library that gives memory back at once, as Dask has it do in its workers, takes each page anew otherwise.
    Products take turns in two places: what the one holds, the next one multiplies.
    """
    weights = [step.weight for step in steps if isinstance(step, Rows)]
    most = max((weight.shape[1] for weight in weights), default=0)
    sides = cycle([np.empty(rows * most, weight.dtype) for weight in weights[:2]])
    for step in steps:
        match step:
            case Chain():
                yield step.placed(rows, alone)
            case Rows() if step is not steps[-1]:
                yield partial(_product, step, in_parts if alone else np.matmul, next(sides))
            case Cast(keywords={"dtype": dtype}):
                yield _cast(dtype, rows)
            case _:
                yield step


def _product(step: Rows, product: Callable[..., Array], place: Array, x: Array) -> Array:
    shape = len(x), step.weight.shape[1]
    return step.finished(product(x, step.weight, place[: prod(shape)].reshape(shape)))


def _cast(dtype: DType, rows: int) -> Forward:
    places: list[Array] = []

    def cast(x: Array) -> Array:
        if not places:
            places.append(np.empty((rows, *x.shape[1:]), dtype))
        found = places[0][: len(x)]
        np.copyto(found, x, casting="unsafe")
        return found

    return cast


def _write(found: Any, block: slice, results: Any) -> None:
    if isinstance(results, dict):
        for name, array in results.items():
            found[name][block] = array
    else:
        found[block] = results
