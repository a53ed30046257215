"""`Rescaling`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from portable_nn._typing import Array, Namespace, Weights
from portable_nn.errors import NetworkError
from portable_nn.layers._weights import Shape, replaced, weights

__all__ = ["SEPARATE", "Rescaling", "standardized"]

SEPARATE = 8
"""Of so many deviations may a mean be to be subtracted after the division: three bits are lost at most."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class Rescaling:
    """An affine map of each value: ``x * scale + offset``.

    Parameters
    ----------
    scale, offset : float, or array of shape (n,) with one value per feature

    Raises
    ------
    NetworkError
        If an array is not one-dimensional, lengths differ, or values are nan.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> pnn.Rescaling(1 / 255)
    Rescaling(0.00392157, 0)
    """

    scale: Array
    offset: Array = 0.0

    if TYPE_CHECKING:

        def __init__(self, scale: float | Weights, offset: float | Weights = 0.0) -> None: ...

    def __post_init__(self) -> None:
        for name in ("scale", "offset"):
            value = getattr(self, name)
            if isinstance(value, (int, float, np.number)):
                value = float(value)
                if value != value:
                    raise NetworkError(f"Rescaling: {name} is nan")
            else:
                value = weights("Rescaling", name, value)
                if value.ndim != 1:
                    raise NetworkError(
                        f"Rescaling: {name} must be a number or an array of shape (n,), got {tuple(value.shape)}"
                    )
            object.__setattr__(self, name, value)
        lengths = {tuple(value.shape) for value in self.arrays.values()}
        if len(lengths) > 1:
            raise NetworkError(
                f"Rescaling: scale of shape {tuple(self.scale.shape)} and offset of shape "
                f"{tuple(self.offset.shape)} differ"
            )

    def __call__(self, x: Array, xp: Namespace) -> Array:
        """The outputs for floating `x`, whose namespace is `xp`."""
        return x * self.scale + self.offset

    def __repr__(self) -> str:
        scale, offset = (
            f"{value:.6g}" if isinstance(value, float) else f"<{value.shape[0]} values>"
            for value in (self.scale, self.offset)
        )
        return f"Rescaling({scale}, {offset})"

    @property
    def arrays(self) -> dict[str, Array]:
        """The weights by name, without plain numbers."""
        both = {"scale": self.scale, "offset": self.offset}
        return {name: value for name, value in both.items() if not isinstance(value, float)}

    @property
    def options(self) -> dict[str, Any]:
        """The plain numbers by name."""
        both = {"scale": self.scale, "offset": self.offset}
        return {name: value for name, value in both.items() if isinstance(value, float)}

    def map(self, f: Callable[[Array], Array]) -> Self:
        """The same layer with `f` applied to each array of weights."""
        return replaced(self, **{name: f(value) for name, value in self.arrays.items()})  # type: ignore[no-any-return]

    @property
    def input_shape(self) -> Shape | None:
        """The shape of one sample, None where any will do."""
        return next(((int(value.shape[0]),) for value in self.arrays.values()), None)

    def output_shape(self, input_shape: Shape | None) -> Shape | None:
        """The shape that one sample has after this layer."""
        return self.input_shape or input_shape


def standardized(mean: Array, deviation: Array, scale: Array = 1.0, offset: Array = 0.0) -> tuple[Rescaling, ...]:
    """Layers for ``(x - mean) / deviation * scale + offset``: one, or two where the mean is many deviations.

    ``x / deviation - mean / deviation`` would lose as many digits as the mean has more than the deviation.

    Parameters
    ----------
    mean, deviation, scale, offset : array of shape (n,), or float

    Returns
    -------
    tuple of Rescaling
        Folded in float64 and rounded once, to the widest dtype that comes, to float32 at least.

    Raises
    ------
    NetworkError
        If a deviation is 0, or values do not fit.

    Examples
    --------
    >>> from portable_nn.layers import standardized
    >>> standardized(1.0, 2.0)
    (Rescaling(0.5, -0.5),)
    >>> standardized(1000.0, 2.0)
    (Rescaling(1, -1000), Rescaling(0.5, 0))
    """
    given = mean, deviation, scale, offset
    dtype = np.result_type(np.float32, *(value.dtype for value in given if hasattr(value, "dtype")))
    centre, width, scale, offset = (np.asarray(value, np.float64) for value in given)
    if not np.all(np.abs(width) > 0):
        raise NetworkError("Rescaling: a deviation to divide by is 0 or nan")

    def affine(scale: Array, offset: Array) -> Rescaling:
        both = np.broadcast_arrays(scale, offset)
        return Rescaling(*(value.astype(dtype) if value.ndim else float(value) for value in both))

    scale = scale / width
    if np.all(np.abs(centre) <= SEPARATE * np.abs(width)):
        return (affine(scale, offset - centre * scale),)
    return affine(np.ones_like(width), -centre), affine(scale, offset)
