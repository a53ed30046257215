"""Where the values of a block of rows are, while blocks are computed one after another: where those before were.

A C library that gives memory back to the system at once, as Dask has it do in its workers, takes each page anew
for each block: that doubles the time of a forward pass whose inputs are cast.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from math import prod
from threading import local
from typing import TypeAlias

import numpy as np

from portable_nn._typing import Array, DType
from portable_nn.backends._base import Forward

__all__ = ["ROOMS", "room"]

IDLE = 2**22
"""Bytes that a thread keeps at most between two calls."""

Held: TypeAlias = dict[Hashable, Array]


class _Rooms(local):
    """Those of a thread.

    Attributes
    ----------
    open : dict or None
        Those that are written over by the next block, so that results are to be copied out; None elsewhere.
    """

    def __init__(self) -> None:
        self.open: Held | None = None
        self._idle: Held = {}

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Compute blocks meanwhile."""
        before, held, self._idle = self.open, self._idle, {}
        self.open = held
        try:
            yield
        finally:
            self.open = before
            if sum(array.nbytes for array in held.values()) <= IDLE:
                self._idle = held

    def left(self, forward: Forward) -> Forward:
        """The same function, in new arrays."""

        def outside(x: Array) -> Array:
            before, self.open = self.open, None
            try:
                return forward(x)
            finally:
                self.open = before

        return outside


ROOMS = _Rooms()


def room(held: Held, name: Hashable, shape: tuple[int, ...], dtype: DType) -> Array:
    """The one of a name, in a shape, with whatever is there."""
    size, key = prod(shape), (name, dtype)
    if key not in held or held[key].size < size:
        held[key] = np.empty(size, dtype)
    return held[key][:size].reshape(shape)
