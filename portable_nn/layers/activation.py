"""`Activation`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self, final

import numpy as np

from portable_nn._options import unknown
from portable_nn._typing import ActivationName, Array, Namespace, Weights
from portable_nn.activations import ACTIVATIONS, ALSO_CALLED, FUNCTIONS, parameters_of
from portable_nn.errors import NetworkError
from portable_nn.layers._weights import Shape, replaced, weights

__all__ = ["Activation", "check_activation"]

LIMITS = ("low", "high", "max_value", "threshold")
"""Parameters that values are compared with, which may be infinite."""

DIVISORS = {"celu": "alpha", "softplus": "beta", "squareplus": "b"}
"""Parameters that are not 0."""


def check_activation(layer: str, name: object, choices: Iterable[str]) -> None:
    """Raise a `NetworkError` for what names no activation; it lists those that the layer takes."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        meant = ALSO_CALLED.get(str(name).lower())
        raise NetworkError(f"{layer}: {unknown('activation', name, choices, meant)}")


@final
@dataclass(frozen=True, eq=False, repr=False, init=False)
class Activation:
    """An activation as a layer of its own, with its parameters: ``function(x, **parameters)``.

    `Dense` takes the name of one without parameters; this is for those that have some, and for an activation
    that follows no Dense.

    Parameters
    ----------
    name : str
        The name of a function in `portable_nn.activations`.
    **parameters : float, or array of shape (n,) with one value per feature
        As the function takes them by keyword; those not given have its defaults.

    Raises
    ------
    NetworkError
        If the activation or a parameter is unknown, one that has no default is missing, or values are nan, or
        such as no function has: an infinite slope, a divisor of 0, a `low` above `high`.

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> pnn.Activation("leaky_relu", negative_slope=0.2)
    Activation('leaky_relu', negative_slope=0.2)
    """

    name: ActivationName
    parameters: dict[str, Any] = field(default_factory=dict)

    def __init__(self, name: ActivationName, **parameters: float | Weights) -> None:
        check_activation("Activation", name, ACTIVATIONS)
        known = parameters_of(name)
        if others := parameters.keys() - known:
            raise NetworkError(
                f"Activation: {name} has no parameter {', '.join(sorted(others))}: "
                + (f"choose from {', '.join(known)}" if known else "it has none")
            )
        if missing := [key for key, default in known.items() if default is None and key not in parameters]:
            raise NetworkError(f"Activation: {name} needs {', '.join(missing)}")
        given = {key: _checked(key, parameters[key]) for key in known if key in parameters}
        lengths = {tuple(value.shape) for value in given.values() if not isinstance(value, float)}
        if len(lengths) > 1:
            raise NetworkError(
                f"Activation: the parameters of {name} have lengths that differ: {sorted(lengths)}"
            )
        _check_values(
            name, {key: value for key, value in given.items() if isinstance(value, (float, np.ndarray))}
        )
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "parameters", given)

    def __call__(self, x: Array, xp: Namespace) -> Array:
        """The outputs for floating `x`, whose namespace is `xp`."""
        return FUNCTIONS[self.name](x, **self.parameters, xp=xp)

    def __repr__(self) -> str:
        given = [
            f", {key}=" + (f"{value:.6g}" if isinstance(value, float) else f"<{value.shape[0]} values>")
            for key, value in self.parameters.items()
        ]
        return f"Activation({self.name!r}{''.join(given)})"

    @property
    def arrays(self) -> dict[str, Array]:
        """The parameters that are arrays, by name."""
        return {key: value for key, value in self.parameters.items() if not isinstance(value, float)}

    @property
    def options(self) -> dict[str, Any]:
        """The name, and the parameters that are plain numbers."""
        return {"name": self.name} | {
            key: value for key, value in self.parameters.items() if isinstance(value, float)
        }

    def map(self, f: Callable[[Array], Array]) -> Self:
        """The same layer with `f` applied to each array of parameters."""
        mapped = {key: f(value) for key, value in self.arrays.items()}
        return replaced(self, parameters=self.parameters | mapped)  # type: ignore[no-any-return]

    def with_name(self, name: str) -> Self:
        """The same layer with another function, unchecked."""
        return replaced(self, name=name)  # type: ignore[no-any-return]

    @property
    def input_shape(self) -> Shape | None:
        """The shape of one sample, None where any will do."""
        return next(((int(value.shape[0]),) for value in self.arrays.values()), None)

    def output_shape(self, input_shape: Shape | None) -> Shape | None:
        """The shape that one sample has after this layer."""
        shape = self.input_shape or input_shape
        if self.name != "glu" or not shape:
            return shape
        if shape[-1] % 2:
            raise NetworkError(f"glu multiplies one half of the values by the other, got {shape[-1]} values")
        return (*shape[:-1], shape[-1] // 2)


def _checked(name: str, value: Any) -> Any:
    """A plain float, or an array of one value a feature."""
    if isinstance(value, (int, float, np.number)):
        try:
            number = float(value)
        except OverflowError as error:
            raise NetworkError(f"Activation: {name} is larger than any float") from error
        if number != number:
            raise NetworkError(f"Activation: {name} is nan")
        return number
    array = weights("Activation", name, value)
    if array.ndim != 1:
        raise NetworkError(
            f"Activation: {name} must be a number or an array of shape (n,), got {tuple(array.shape)}"
        )
    return array


def _check_values(name: str, values: dict[str, Any]) -> None:
    """Raise a `NetworkError` if parameters, those of NumPy and numbers, are such as the function cannot take."""
    for key, value in values.items():
        if key not in LIMITS and np.isinf(value).any():
            raise NetworkError(f"Activation: {key} of {name} is infinite: give finite values")
        if DIVISORS.get(name) == key and not np.all(value):
            raise NetworkError(f"Activation: {key} of {name} is 0, which it divides by: give other values")
    if "low" in values and "high" in values and np.any(values["low"] > values["high"]):
        raise NetworkError(
            f"Activation: low of {name} is above high: give low={values['high']}, high={values['low']}"
        )
