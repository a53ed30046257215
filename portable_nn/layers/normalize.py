"""`Normalize`."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Self, final

from portable_nn._arrays import is_narrow
from portable_nn._typing import Array, Namespace, Weights
from portable_nn.errors import NetworkError
from portable_nn.layers._weights import Shape, replaced, weights

__all__ = ["Normalize"]


@final
@dataclass(frozen=True, eq=False, repr=False)
class Normalize:
    """Layer normalisation of each sample: its values over their root mean square, from their mean or from 0.

    ``(x - mean(x)) / sqrt(var(x) + epsilon) * scale + offset``, as LayerNorm has it; where it is not centred,
    ``x / sqrt(mean(x**2) + epsilon) * scale + offset``, as RMSNorm has it. Means are over the last axis.
    float16 and bfloat16 are computed in float32 and rounded once.

    Parameters
    ----------
    scale, offset : array of shape (n,), optional
        One value per feature; ones and zeros if not given.
    epsilon : float
        Added to the mean square.
    centred : bool
        Whether the mean is subtracted first.

    Raises
    ------
    NetworkError
        If an array is not one-dimensional, lengths differ, values are nan, or `epsilon` is negative.

    References
    ----------
    Ba, Kiros and Hinton, arXiv:1607.06450; Zhang and Sennrich, arXiv:1910.07467.

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> net = pnn.Network([pnn.Normalize(np.ones(4))])
    >>> net(np.array([1.0, 2.0, 3.0, 4.0])).round(3)
    array([-1.342, -0.447,  0.447,  1.342])
    """

    scale: Array = None  # (n,)
    offset: Array = None  # (n,)
    epsilon: float = 1e-5
    centred: bool = True

    if TYPE_CHECKING:

        def __init__(
            self,
            scale: Weights | None = None,
            offset: Weights | None = None,
            epsilon: float = 1e-5,
            centred: bool = True,
        ) -> None: ...

    def __post_init__(self) -> None:
        for name in ("scale", "offset"):
            if getattr(self, name) is not None:
                value = weights("Normalize", name, getattr(self, name))
                if value.ndim != 1 or value.shape[0] == 0:
                    raise NetworkError(f"Normalize: {name} must have shape (n,), got {tuple(value.shape)}")
                object.__setattr__(self, name, value)
        if len({tuple(array.shape) for array in self.arrays.values()}) > 1:
            raise NetworkError(
                f"Normalize: scale of shape {tuple(self.scale.shape)} and offset of shape "
                f"{tuple(self.offset.shape)} differ"
            )
        try:
            epsilon = float(self.epsilon)
        except (TypeError, ValueError):
            epsilon = -1.0
        if not (isfinite(epsilon) and epsilon >= 0):
            raise NetworkError(f"Normalize: epsilon must be a number that is not negative, got {self.epsilon!r}")
        object.__setattr__(self, "epsilon", epsilon)
        object.__setattr__(self, "centred", bool(self.centred))

    def __call__(self, x: Array, xp: Namespace) -> Array:
        """The outputs for floating `x`, whose namespace is `xp`."""
        dtype = x.dtype
        if is_narrow(x):
            x = xp.astype(x, xp.float32)
        if self.centred:
            x = x - xp.mean(x, axis=-1, keepdims=True)
        x = x / xp.sqrt(xp.mean(x * x, axis=-1, keepdims=True) + self.epsilon)
        if self.scale is not None:
            x = x * self.scale
        if self.offset is not None:
            x = x + self.offset
        return x if x.dtype == dtype else xp.astype(x, dtype)

    def __repr__(self) -> str:
        shape = "" if self.input_shape is None else f"{self.input_shape[0]}, "
        return f"Normalize({shape}epsilon={self.epsilon:.6g}{'' if self.centred else ', centred=False'})"

    @property
    def arrays(self) -> dict[str, Array]:
        """The weights by name, without those that were not given."""
        both = {"scale": self.scale, "offset": self.offset}
        return {name: value for name, value in both.items() if value is not None}

    @property
    def options(self) -> dict[str, Any]:
        """What is no array."""
        return {"epsilon": self.epsilon, "centred": self.centred}

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
