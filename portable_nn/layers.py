"""The layers: frozen records of weights, each with its forward pass as one expression.

NumPy weights are copied, made read-only and checked for nan; weights of another library are kept as they are,
so that gradients flow through them.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import Any, Self, TypeAlias, final

import array_api_compat
import numpy as np

from portable_nn._arrays import namespace
from portable_nn._typing import Array, Namespace
from portable_nn.activations import ACTIVATIONS, FUNCTIONS
from portable_nn.errors import NetworkError, ShapeError

__all__ = ["Dense", "Flatten", "Layer", "Rescaling"]

Shape: TypeAlias = tuple[int, ...]

MOST_AXES, LONGEST = 64, 2**63 - 1
"""Of an array, in NumPy."""


def _weights(layer: str, name: str, array: Array) -> Array:
    """The array itself; from NumPy a floating, read-only copy without nan."""
    xp = namespace(array)
    if not array_api_compat.is_numpy_array(array):
        if not xp.isdtype(array.dtype, "real floating"):
            raise NetworkError(f"{layer}: {name} must be floating, got dtype {array.dtype}: cast it first")
        return array
    if array.dtype.kind not in "biuf":
        raise NetworkError(f"{layer}: {name} must be real numbers, got dtype {array.dtype}")
    floating = array.dtype.kind == "f"
    copy = np.array(array, dtype=array.dtype.newbyteorder("=") if floating else np.float64, order="C")
    if np.isnan(copy).any():
        raise NetworkError(
            f"{layer}: {name} has {np.isnan(copy).sum()} nan of {copy.size} values: was training stable?"
        )
    copy.setflags(write=False)
    return copy


def _replaced(layer: Any, **fields: Any) -> Any:
    """A copy of a frozen layer with other fields, unchecked."""
    new = object.__new__(type(layer))
    for name, value in (layer.__dict__ | fields).items():
        object.__setattr__(new, name, value)
    return new


@final
@dataclass(frozen=True, eq=False, repr=False)
class Dense:
    """A fully connected layer: ``activation(x @ weight + bias)``.

    Parameters
    ----------
    weight : array of shape (n_in, n_out)
        Note the orientation: PyTorch's `nn.Linear` holds the transpose.
    bias : array of shape (n_out,), optional
        Zeros if not given.
    activation : str
        The name of a function in `portable_nn.activations`.

    Raises
    ------
    NetworkError
        If shapes do not fit, the activation is unknown, or NumPy weights hold nan.

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> pnn.Dense(np.ones((784, 50)), np.zeros(50), "sigmoid")
    Dense(784, 50, 'sigmoid')
    """

    weight: Array  # (n_in, n_out)
    bias: Array = None  # (n_out,)
    activation: str = "identity"

    def __post_init__(self) -> None:
        weight = _weights("Dense", "weight", self.weight)
        if weight.ndim != 2 or 0 in weight.shape:
            raise NetworkError(
                f"Dense: weight must have shape (n_in, n_out) with no axis of length 0, got {tuple(weight.shape)}"
            )
        if self.bias is None:
            bias = namespace(weight).zeros_like(weight[0, :])
        else:
            bias = _weights("Dense", "bias", self.bias)
        if tuple(bias.shape) != tuple(weight.shape[1:]):
            raise NetworkError(
                f"Dense: weight of shape {tuple(weight.shape)} takes a bias of shape ({weight.shape[1]},), "
                f"got {tuple(bias.shape)}"
            )
        if self.activation not in ACTIVATIONS:
            raise NetworkError(
                f"Dense: unknown activation {self.activation!r}: choose one of {', '.join(ACTIVATIONS)}"
            )
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)

    def __call__(self, x: Array, xp: Namespace) -> Array:
        """The outputs for floating `x`, whose namespace is `xp`."""
        return FUNCTIONS[self.activation](x @ self.weight + self.bias, xp=xp)

    def __repr__(self) -> str:
        return f"Dense({self.weight.shape[0]}, {self.weight.shape[1]}, {self.activation!r})"

    @property
    def arrays(self) -> dict[str, Array]:
        """The weights by name."""
        return {"weight": self.weight, "bias": self.bias}

    def map(self, f: Callable[[Array], Array]) -> Self:
        """The same layer with `f` applied to each array of weights."""
        return _replaced(self, weight=f(self.weight), bias=f(self.bias))  # type: ignore[no-any-return]

    def with_activation(self, activation: str) -> Self:
        """The same layer with another activation."""
        return _replaced(self, activation=activation)  # type: ignore[no-any-return]

    @property
    def input_shape(self) -> Shape:
        """The shape of one sample."""
        return (int(self.weight.shape[0]),)

    def output_shape(self, input_shape: Shape | None) -> Shape:
        """The shape that one sample has after this layer."""
        return (int(self.weight.shape[1]),)


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

    def __post_init__(self) -> None:
        for name in ("scale", "offset"):
            value = getattr(self, name)
            if isinstance(value, (int, float, np.number)):
                value = float(value)
                if value != value:
                    raise NetworkError(f"Rescaling: {name} is nan")
            else:
                value = _weights("Rescaling", name, value)
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

    def map(self, f: Callable[[Array], Array]) -> Self:
        """The same layer with `f` applied to each array of weights."""
        return _replaced(self, **{name: f(value) for name, value in self.arrays.items()})  # type: ignore[no-any-return]

    @property
    def input_shape(self) -> Shape | None:
        """The shape of one sample, None where any will do."""
        return next(((int(value.shape[0]),) for value in self.arrays.values()), None)

    def output_shape(self, input_shape: Shape | None) -> Shape | None:
        """The shape that one sample has after this layer."""
        return self.input_shape or input_shape


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
        if any(n != n for n in leading):
            raise ShapeError("Dask flattens no chunks of unknown size: call x.compute_chunk_sizes() first")
        return xp.reshape(x, (*(-1 if n is None else n for n in leading), prod(self.sample_shape)))

    def __repr__(self) -> str:
        return f"Flatten({self.sample_shape})"

    @property
    def arrays(self) -> dict[str, Array]:
        """No weights."""
        return {}

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


Layer: TypeAlias = Dense | Rescaling | Flatten


def sample_shapes(layers: tuple[Layer, ...]) -> tuple[Shape | None, ...]:
    """The shape of one sample before the first layer and after each, None where any will do.

    Raises
    ------
    NetworkError
        If a layer does not take what the one before it gives.
    """
    needed = next((layer.input_shape for layer in layers if layer.input_shape is not None), None)
    shapes: list[Shape | None] = [needed]
    for i, layer in enumerate(layers):
        given, taken = shapes[-1], layer.input_shape
        if taken is not None and given is not None and given != taken:
            before = f"layer {i - 1} gives" if i else "the network takes"
            raise NetworkError(f"{before} {_values(given)}, layer {i} takes {_values(taken)}")
        shapes.append(layer.output_shape(given))
    return tuple(shapes)


def _values(shape: Shape) -> str:
    return f"{shape[0]} values" if len(shape) == 1 else f"samples of shape {shape}"


def check_input(x: Array, shape: Shape) -> None:
    """Raise a `ShapeError` that says how to mend `x`, whose samples have not the shape `shape`."""
    came = tuple(x.shape)
    size = prod(shape)
    hint = ""
    if len(came) >= 2 and all(isinstance(n, int) for n in came):
        if prod(came[1:]) == size:
            hint = f": reshape each sample, x.reshape({came[0]}, {', '.join(map(str, shape))})"
        elif came[0] == size:
            hint = ": samples come first, transpose x"
    wanted = f"(..., {', '.join(map(str, shape))})"
    raise ShapeError(f"the network takes arrays of shape {wanted}, got {came}{hint}")
