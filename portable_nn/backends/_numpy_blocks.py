"""NumPy's steps over blocks of rows, which stay in a core's cache and are computed where those before were."""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from math import prod
from operator import itemgetter
from threading import Lock
from typing import Any

import numpy as np

from portable_nn._arrays import each, first_of
from portable_nn._typing import Array
from portable_nn.backends._base import Forward, forward_pass
from portable_nn.layers import Dense, Graph, Layer
from portable_nn.threads import VALUE, given, of_blas, with_others

__all__ = ["FEWEST", "ROWS", "Cast", "Product", "by_blocks", "sharing"]

ROWS = 200
"""A block has a multiple of so many rows: a product packs its weights anew for each."""

FEWEST = 2 * ROWS
"""Samples that are shared out at all: two threads have a block each."""

HANDED = 2**23
"""Multiply-adds that take as long as to hand work to another thread, to take turns in Python, and to wait."""


def sharing(layers: tuple[Layer, ...]) -> Callable[[int], int]:
    """The number of threads that so many samples are best shared out to, 1 where the BLAS has its own.

    A thread of ours computes activations as well. Where there are fewer than the BLAS has, products take longer.
    """
    dense = [layer for layer in layers if isinstance(layer, Dense)]
    products = sum(layer.weight.size for layer in dense)
    values = sum(len(layer.bias) for layer in dense if layer.activation != "identity")
    values += sum(prod(shape) for layer in layers if isinstance(layer, Graph) for shape in layer.shapes.values())
    activations = VALUE * values

    def threads(n: int) -> int:
        if n < FEWEST or n * activations < HANDED:
            return 1
        of_all = min(given(), of_blas())
        ours = min(of_all, n // ROWS)
        saved = activations * (1 - 1 / ours) - products * (1 / ours - 1 / of_all)
        return ours if n * saved > HANDED else 1

    return threads


def by_blocks(steps: tuple[Forward, ...], samples: Any, n: int, rows: int, threads: int) -> Any:
    """Blocks of so many rows of the n, each by a thread that is free."""
    blocks = deque(slice(start, min(start + rows, n)) for start in range(0, n, rows))
    found: list[Any] = []
    finding = Lock()

    def run() -> None:
        whole = forward_pass(tuple(_in_place(steps, first_of(samples)[:rows])))
        try:
            for block in _taken(blocks):
                forward = whole if block.stop - block.start == rows else forward_pass(steps)
                results = forward(each(itemgetter(block), samples))
                with finding:
                    if not found:
                        found.append(each(lambda array: np.empty((n, *array.shape[1:]), array.dtype), results))
                _write(found[0], block, results)
        finally:
            blocks.clear()  # after an error nobody goes on

    if threads == 1:
        run()
    else:
        with_others(run, threads)
    return found[0]


def _taken(blocks: deque[slice]) -> Iterator[slice]:
    """Those that no other thread has taken."""
    while True:
        try:
            yield blocks.popleft()
        except IndexError:
            return


class Product(partial[Array]):
    """A product with weights."""


class Cast(partial[Array]):
    """A cast."""


def _in_place(steps: tuple[Forward, ...], block: Array) -> Iterator[Forward]:
    """The steps for arrays like a block, each product and cast into the place of the one before.

    A C library that gives memory back at once, as Dask has it do in its workers, takes each page anew otherwise.
    Products take turns in two places: what the one holds, the next one multiplies.
    """
    weights = [step.keywords["b"] for step in steps if isinstance(step, Product)]
    most = max((weight.shape[1] for weight in weights), default=0)
    sides = cycle([np.empty(len(block) * most, weight.dtype) for weight in weights[:2]])
    for step in steps:
        match step:
            case Product(keywords={"b": weight}):
                shape = len(block), weight.shape[1]
                yield partial(np.dot, b=weight, out=next(sides)[: prod(shape)].reshape(shape))
            case Cast(keywords={"dtype": dtype}):
                yield partial(_cast, np.empty(block.shape, dtype))
            case _:
                yield step


def _cast(found: Array, x: Array) -> Array:
    np.copyto(found, x, casting="unsafe")
    return found


def _write(found: Any, block: slice, results: Any) -> None:
    if isinstance(results, dict):
        for name, array in results.items():
            found[name][block] = array
    else:
        found[block] = results
