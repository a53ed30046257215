"""NumPy's steps over blocks of rows, which stay in a core's cache and are computed where those before were."""

from collections.abc import Iterator
from functools import partial
from itertools import cycle
from math import prod
from operator import itemgetter
from typing import Any

import numpy as np

from portable_nn._arrays import each, first_of
from portable_nn._typing import Array
from portable_nn.backends._base import Forward, forward_pass

__all__ = ["Cast", "Product", "by_blocks"]


def by_blocks(steps: tuple[Forward, ...], samples: Any, n: int, rows: int) -> Any:
    """Blocks of so many rows one after another, and what is left of the n."""
    forward = forward_pass(tuple(_in_place(steps, first_of(samples)[:rows])))
    first = forward(each(itemgetter(slice(rows)), samples))
    found = each(lambda array: np.empty((n, *array.shape[1:]), array.dtype), first)
    _write(found, slice(rows), first)
    for start in range(rows, n, rows):
        block = slice(start, start + rows)
        if start + rows > n:
            forward = forward_pass(steps)
        _write(found, block, forward(each(itemgetter(block), samples)))
    return found


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
