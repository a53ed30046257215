"""`Flatten`."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import Any, Self, final

from portable_nn._arrays import has_unknown
from portable_nn._typing import Array, Namespace
from portable_nn.errors import NetworkError, ShapeError
from portable_nn.layers._weights import Shape

__all__ = ["Flatten"]

MOST_AXES, LONGEST = 64, 2**63 - 1
"""Of an array, in NumPy."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class Flatten:
    """Each sample in one dimension: ``(..., *sample_shape)`` becomes ``(..., n)``.

    Parameters
    ----------
    sample_shape : tuple of int
        The shape of one sample. All axes before it are kept.

    Raises
    ------
    NetworkError
        If the shape has no axis, or one that is not positive.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> pnn.Flatten((28, 28))
    Flatten((28, 28))
    """

    sample_shape: Shape

    def __post_init__(self) -> None:
        try:
            shape = tuple(operator.index(n) for n in islice(self.sample_shape, MOST_AXES + 1))
        except TypeError:
            shape = ()
        if not shape or min(shape) < 1:
            raise NetworkError(
                f"Flatten: sample_shape must be positive lengths such as (28, 28), got {self.sample_shape!r:.80}"
            )
        if len(shape) > MOST_AXES or max(shape) > LONGEST or prod(shape) > LONGEST:
            raise NetworkError(
                f"Flatten: sample_shape must be at most {MOST_AXES} lengths whose product is below 2**63"
            )
        object.__setattr__(self, "sample_shape", shape)

    def __call__(self, x: Array, xp: Namespace) -> Array:
        """The outputs for floating `x`, whose namespace is `xp`."""
        leading = x.shape[: x.ndim - len(self.sample_shape)]
        if has_unknown(leading):
            raise ShapeError("Dask flattens no chunks of unknown size: call x.compute_chunk_sizes() first")
        return xp.reshape(x, (*(-1 if n is None else n for n in leading), prod(self.sample_shape)))

    def __repr__(self) -> str:
        return f"Flatten({self.sample_shape})"

    @property
    def arrays(self) -> dict[str, Array]:
        """No weights."""
        return {}

    @property
    def options(self) -> dict[str, Any]:
        """The shape."""
        return {"sample_shape": self.sample_shape}

    def map(self, f: Callable[[Array], Array]) -> Self:
        """Itself: there is no array to apply `f` to."""
        return self

    @property
    def input_shape(self) -> Shape:
        """The shape of one sample."""
        return self.sample_shape

    def output_shape(self, input_shape: Shape | None) -> Shape:
        """The shape that one sample has after this layer."""
        return (prod(self.sample_shape),)
