"""Several inputs of a network by name: dicts of arrays, and integers that stay integers."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from portable_nn._arrays import as_array, check_real, first_of, namespace
from portable_nn._typing import Array, DType
from portable_nn.backends import Backend, Forward
from portable_nn.errors import InputError, PortableNNError, ShapeError
from portable_nn.layers import Graph, Layer, Layers, Shape, Value, fitted

__all__ = [
    "alone",
    "are_fitting",
    "as_plain",
    "check_dtype",
    "check_names",
    "entering",
    "fitted_parts",
    "given_by",
    "known",
    "named",
    "no_samples",
    "shapes_given_by",
    "taken_by",
]


def taken_by(layers: Layers) -> dict[str, Value]:
    """The inputs of layers by name, where they take several or integers; nothing where one array of numbers."""
    match layers[:1]:
        case [Graph(takes_parts=True) as first]:
            return {value.name: value for value in first.inputs}
    return {}


def given_by(layers: Layers) -> tuple[str, ...]:
    """The names of the outputs of layers, where they give several; nothing where one array."""
    match layers[-1:]:
        case [Graph(outputs=outputs)] if len(outputs) > 1:
            return outputs
    return ()


def shapes_given_by(layers: Layers) -> dict[str, Shape | None]:
    """The shapes of several outputs for one sample, by name, None where they are not known."""
    shapes = getattr(layers[-1], "shapes", {})
    return {name: shapes.get(name) for name in given_by(layers)}


def known(value: Value) -> Shape | None:
    """The shape of one sample of an input, None where not all of it is told."""
    lengths = tuple(n for n in value.shape or () if isinstance(n, int))
    return None if value.shape is None or len(lengths) < len(value.shape) else lengths


def no_samples(inputs: Mapping[str, Value], shape: Shape | None, dtype: str) -> Any:
    """An array, or a dict of them, of no samples that a network takes, in NumPy."""
    none = {
        name: np.zeros((0, *(known(value) or ())), dtype if value.is_floating else value.dtype)
        for name, value in inputs.items()
    }
    if len(none) > 1:
        return none
    return first_of(none) if none else np.zeros((0, *((1,) if shape is None else shape)), dtype)


def named(x: Any) -> dict[str, Array]:
    """A dict of arrays itself, or an array alone under no name."""
    return x if isinstance(x, dict) else {"": x}


def alone(x: Mapping[str, Any], first: Layer) -> Any:
    """The one array that a network takes, from a dict in which it has the name that the network knows."""
    if isinstance(first, Graph) and x.keys() == {first.inputs[0].name}:
        return x[first.inputs[0].name]
    raise InputError(f"the network takes one array, got a dict of {_few(x)}: give the array alone")


def check_names(x: Any, inputs: Mapping[str, Value]) -> None:
    """Raise an `InputError` unless there is a dict of the names of the inputs."""
    if not isinstance(x, Mapping):
        wanted = ", ".join(f"{name!r}: …" for name in inputs)
        raise InputError(f"the network takes several arrays: give a dict, {{{wanted}}}, got {type(x).__name__}")
    if x.keys() != inputs.keys():
        raise InputError(f"the network takes a dict of {', '.join(inputs)}, got one of {_few(x)}")


def fitted_parts(x: Any, inputs: Mapping[str, Value]) -> dict[str, Array]:
    """What may be given for several inputs, as a dict of arrays of as many samples: `x` itself, if it is one.

    Parameters
    ----------
    x : mapping of str to array
    inputs : mapping of str to Value

    Raises
    ------
    InputError, ShapeError
        If names are others, or one is no array, or samples do not fit an input or each other.

    Examples
    --------
    >>> from portable_nn.layers import Value
    >>> from portable_nn.parts import fitted_parts
    >>> inputs = {"x": Value("x", "float32", (2,)), "place": Value("place", "int64", ())}
    >>> fitted_parts({"place": [3, 4], "x": [[0.1, 0.2], [0.3, 0.4]]}, inputs)["place"]
    array([3, 4])
    """
    check_names(x, inputs)
    found = {}
    for name in x:
        try:
            found[name] = _fitted(as_array(x[name]), inputs[name])
        except PortableNNError as error:
            raise type(error)(f"input {name!r}: {error}") from error
    any_length = {name: value.shape and (None,) * len(value.shape) for name, value in inputs.items()}
    if not are_fitting(found, any_length):
        came = ", ".join(
            f"{name} has shape {tuple(array.shape)}, of samples {inputs[name].shape}"
            for name, array in found.items()
        )
        raise ShapeError(f"inputs differ in the axes before a sample, give as many samples of each: {came}")
    same = type(x) is dict and all(x[name] is array for name, array in found.items())
    return x if same else found


def _few(names: Iterable[Any], most: int = 8) -> str:
    shown = [str(name) for name, _ in zip(names, range(most + 1), strict=False)]
    return ", ".join(shown[:most]) + (", …" if len(shown) > most else "") or "nothing"


def as_plain(array: Array) -> Array:
    """The array itself, for what NumPy calls one: no memory map, no matrix."""
    return np.asarray(array) if isinstance(array, np.ndarray) and type(array) is not np.ndarray else array


def _fitted(array: Any, value: Value) -> Array:
    xp = namespace(array)
    array = as_plain(array)
    if value.shape is None:
        return array
    if (shape := known(value)) is not None:
        return fitted(array, shape, xp)
    if not are_fitting({value.name: array}, {value.name: value.shape}):
        wanted = ", ".join("?" if n is None else str(n) for n in value.shape)
        raise ShapeError(f"it takes arrays of shape (..., {wanted}), got {tuple(array.shape)}")
    return array


def are_fitting(x: Mapping[str, Array], samples: Mapping[str, tuple[Any, ...] | None]) -> bool:
    """Whether arrays end in the shapes of samples, and have the same axes before.

    None stands for any length, or for a shape that is not known.
    """
    leading = None
    for name, array in x.items():
        sample, came = samples[name], array.shape
        if sample is None:
            continue
        axes = len(came) - len(sample)
        if axes < 0 or (came[axes:] != sample and not _are_alike(came[axes:], sample)):
            return False
        if leading is None:
            leading = came[:axes]
        elif leading != came[:axes]:
            return False
    return True


def _are_alike(came: Iterable[Any], sample: Iterable[Any]) -> bool:
    return all(wanted in (n, None) for n, wanted in zip(came, sample, strict=True))


def check_dtype(array: Array, value: Value) -> None:
    """Raise an `InputError` unless an array is what an input of integers or of booleans takes."""
    xp = namespace(array)
    if check_real(array, xp) or xp.isdtype(array.dtype, "bool") != (value.dtype == "bool"):
        raise InputError(f"input {value.name!r} takes {value.dtype}, got {array.dtype}: cast it first")


def entering(inputs: Mapping[str, Value], x: Any, dtype: DType, backend: Backend) -> tuple[Forward, ...]:
    """The step before a graph that takes what is like `x`, if one is needed: floats are cast, integers stay."""
    if isinstance(x, dict):
        cast = backend.cast_to(dtype)
        others = [name for name, array in x.items() if inputs[name].is_floating and array.dtype != dtype]
        return (lambda x: x | {name: cast(x[name]) for name in others},) if others else ()
    (name,) = inputs
    return (lambda x: {name: x},)
