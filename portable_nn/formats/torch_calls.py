"""What PyTorch's functions and methods are in a traced forward pass: operators of ONNX, or layers.

A new one is one function, or one name, in a table here. Axes are those of a batch: the first is that of samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from typing import Any, TypeAlias

import numpy as np

from portable_nn._typing import ActivationName, NumPyArray
from portable_nn.errors import NetworkError, PortableNNError
from portable_nn.formats.modules import ALONG_AN_AXIS, ELEMENTWISE, fetched, made
from portable_nn.formats.onnx_nodes import Nodes
from portable_nn.layers import Activation, Dense, Layer, Shape
from portable_nn.nodes import as_nodes

__all__ = ["CALLS", "Made", "Traced", "called"]

Made: TypeAlias = str | list[str]
"""The name of a value, or of several."""

Call: TypeAlias = Callable[..., Made]
"""It takes a `Traced`, and arguments as PyTorch's function does."""


@dataclass
class Traced:
    """A forward pass as far as its nodes are made.

    Attributes
    ----------
    nodes : Nodes
    named : dict of torch.fx.Node to str or list of str
        The values that depend on data.
    values : dict of torch.fx.Node to tensor, number, …
        What the pass makes of some samples; what depends on their number is not in it.
    value : tensor, number, …
        Of the node that is made.

    Examples
    --------
    >>> from portable_nn.formats.onnx_nodes import Nodes
    >>> from portable_nn.formats.torch_calls import Traced
    >>> Traced(Nodes(), {"x": "x"}, {}).operand(2)
    2.0
    """

    nodes: Nodes
    named: dict[Any, Made]
    values: dict[Any, Any]
    value: Any = None

    def operand(self, argument: Any) -> str | float | NumPyArray:
        """The name of a value, or a number or an array that depends on no data."""
        if not isinstance(argument, int | float) and argument in self.named:
            return self.name(argument)
        value = self.known(argument)
        return float(value) if isinstance(value, int | float) else self.array(argument)

    def name(self, argument: Any) -> str:
        """The name of a value that depends on data."""
        found = self.named.get(argument)
        if not isinstance(found, str):
            raise NetworkError(f"it takes {argument}, which has no one part for each sample")
        return found

    def array(self, argument: Any) -> NumPyArray:
        """An array that depends on no data; bfloat16 in float32."""
        value = self.known(argument)
        if argument in self.named or not hasattr(value, "detach"):
            raise NetworkError(f"it takes {str(argument)[:40]}, where an array was to be that depends on no data")
        array: NumPyArray = fetched(str(argument), value)
        return array if array.dtype.kind == "f" else array.astype(np.float32)

    def known(self, argument: Any) -> Any:
        """An argument, or what was made of one."""
        if isinstance(argument, tuple | list | int | float | str | None):
            return argument
        if argument not in self.values:
            raise NetworkError(f"it takes {argument}, which depends on the number of samples")
        return self.values[argument]

    def shape(self, argument: Any) -> Shape:
        """Of one sample of a value."""
        self.name(argument)
        return tuple(self.values[argument].shape[1:])

    def dtype(self, argument: Any) -> np.dtype[Any]:
        """Of a value."""
        return np.dtype(str(self.values[argument].dtype).removeprefix("torch.").replace("bfloat16", "float32"))

    def axis(self, argument: Any, axis: Any) -> int:
        """An axis of a value, counted from the first, that is not that of samples."""
        axes = len(self.shape(argument)) + 1
        if not isinstance(axis, int) or axis % axes == 0:
            raise NetworkError(f"it works along axis {axis}, that of samples")
        return axis % axes

    def layers(self, argument: Any, layers: Sequence[Layer]) -> str:
        """Layers that keep the number of axes, one after the other."""
        x, shape = self.name(argument), self.shape(argument)
        for layer in layers:
            x, shape = (
                as_nodes(self.nodes.call, x, layer, shape),
                (*shape[:-1], *(layer.output_shape(shape[-1:]) or ())),
            )
        return x


def called(at: Traced, target: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Made:
    """What a call of a function or method of PyTorch's makes.

    Parameters
    ----------
    at : Traced
    target : callable or str
    arguments : tuple
    options : dict

    Returns
    -------
    str or list of str

    Raises
    ------
    NetworkError
        If it has no counterpart here, or is given what is not read.

    Examples
    --------
    >>> import torch
    >>> from portable_nn.formats.onnx_nodes import Nodes
    >>> from portable_nn.formats.torch_calls import Traced, called
    >>> called(Traced(Nodes(), {"x": "x"}, {}), torch.exp, ("x",), {})
    'exp0'
    """
    name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    module = "torch" if isinstance(target, str) else getattr(target, "__module__", None) or "torch"
    if module.partition(".")[0] not in ("torch", "_operator"):
        name = f"{module}.{name}"
    call = CALLS.get(name.strip("_")) or CALLS.get(IN_PLACE.get(name, name.replace("_", "")))
    if call is None:
        raise NetworkError("it has no counterpart here")
    told = {key: value for key, value in options.items() if value is not None and key not in SILENT}
    first = [told.pop(key) for key in ("input", "self") if key in told]
    try:
        return call(at, *first, *arguments, **told)
    except PortableNNError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError) as error:  # of other arguments than are read
        reason = str(error).rpartition("() ")[2]  # without the name of a function of this package
        raise NetworkError(f"what it is given is not read: {reason}") from error


IN_PLACE = {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "truediv", "ipow": "pow"}

SILENT = ("inplace", "_stacklevel", "training")
"""Options that change nothing of a pass that evaluates, if what is changed in place is not read later."""

STOCK: dict[str, dict[str, Any]] = {
    **{kind: dict.fromkeys(parameters) for kind, (_, parameters) in ELEMENTWISE.items()},
    **{kind: {"dim": None} for kind in ALONG_AN_AXIS},
    "CELU": {"alpha": 1.0},
    "ELU": {"alpha": 1.0},
    "GELU": {"approximate": "none"},
    "GLU": {"dim": -1},
    "Hardshrink": {"lambd": 0.5},
    "Hardtanh": {"min_val": -1.0, "max_val": 1.0},
    "LayerNorm": {"normalized_shape": None, "weight": None, "bias": None, "eps": 1e-5},
    "LeakyReLU": {"negative_slope": 0.01},
    "PReLU": {"weight": None},
    "RMSNorm": {"normalized_shape": None, "weight": None, "eps": None},
    "Softplus": {"beta": 1.0, "threshold": 20.0},
    "Softshrink": {"lambd": 0.5},
}
"""Modules that are functions too, under their names in small letters, with the arguments of these in order."""


def _binary(operator: str) -> Call:
    def call(at: Traced, x: Any, other: Any, alpha: float = 1) -> Made:
        scaled = at.operand(other) if alpha == 1 else at.nodes.call("Mul", at.operand(other), float(alpha))
        return at.nodes.call(operator, at.operand(x), scaled)

    return call


def _subtracted_from(at: Traced, x: Any, other: Any, alpha: float = 1) -> Made:
    return _binary("Sub")(at, other, x, alpha)


def _power(at: Traced, x: Any, exponent: Any) -> str:
    return at.nodes.call("Pow", at.operand(x), at.operand(exponent))


def _unary(operator: str) -> Call:
    return lambda at, x: at.nodes.call(operator, at.name(x))


def _activation(name: ActivationName) -> Call:
    return lambda at, x: at.layers(x, [Activation(name)])


def _stock(kind: str, **usual: Any) -> Call:
    """What a module of PyTorch's own does, too, given its attributes in the same order."""

    def call(at: Traced, x: Any, *arguments: Any, **options: Any) -> str:
        told = {**usual, **dict(zip(usual, arguments, strict=False)), **options}
        if told.keys() != usual.keys() or len(arguments) > len(usual):
            raise TypeError(f"{', '.join(map(str, (*arguments, *options)))}")
        attributes = {name: at.known(value) for name, value in told.items()}
        arrays = {name: at.array(told[name]) for name in ("weight", "bias") if told.get(name) is not None}
        return at.layers(x, made(kind, attributes, arrays, at.dtype(x), len(at.shape(x))))

    return call


def _linear(at: Traced, x: Any, weight: Any, bias: Any = None) -> str:
    return at.layers(x, [Dense.from_linear(at.array(weight), None if bias is None else at.array(bias))])


def _clamp(at: Traced, x: Any, *limits: Any, **named: Any) -> str:
    told = {"min": None, "max": None} | dict(zip(("min", "max"), limits, strict=False)) | named
    if others := told.keys() - {"min", "max"}:
        raise TypeError(", ".join(others))
    low, high = (None if limit is None else at.operand(limit) for limit in told.values())
    if not isinstance(low, float | None) or not isinstance(high, float | None):
        y = at.name(x) if low is None else at.nodes.call("Max", at.name(x), low)
        return y if high is None else at.nodes.call("Min", y, high)
    bounds = {"low": -inf if low is None else low, "high": inf if high is None else high}
    return at.layers(x, [Activation("clip", **bounds)])


def _concatenated(at: Traced, tensors: Any, dim: int = 0, axis: int | None = None) -> str:
    place = at.axis(tensors[0], dim if axis is None else axis)
    return at.nodes.call("Concat", *map(at.name, tensors), axis=place)


def _stacked(at: Traced, tensors: Any, dim: int = 0) -> str:
    axis = dim % (len(at.shape(tensors[0])) + 2)
    if axis == 0:
        raise NetworkError("it works along axis 0, that of samples")
    apart = [at.nodes.call("Unsqueeze", at.name(x), np.array([axis])) for x in tensors]
    return at.nodes.call("Concat", *apart, axis=axis)


def _parts(at: Traced, x: Any, *size_and_axis: Any, **named: Any) -> list[str]:
    """Consecutive parts along an axis, of the lengths that they have."""
    axis = at.axis(x, named.get("dim", (*size_and_axis, 0, 0)[1]))
    lengths = [part.shape[axis] for part in at.value]
    ends = list(accumulate(lengths))
    return [_sliced(at, at.name(x), axis, end - n, end) for n, end in zip(lengths, ends, strict=True)]


def _sliced(at: Traced, name: str, axis: int, start: int, end: int, step: int = 1) -> str:
    return at.nodes.call("Slice", name, *(np.array([n]) for n in (start, end, axis, step)))


def _item(at: Traced, x: Any, index: Any) -> Made:
    """One of several values; or of an array features, by numbers and slices of each axis."""
    found = at.named.get(x)
    if isinstance(found, list):
        return str(found[index])
    name, shape = at.name(x), at.shape(x)
    places = list(index) if isinstance(index, tuple) else [index]
    new = any(place is None for place in places)
    places = [place for place in places if place is not None]
    if Ellipsis in places:
        i = places.index(Ellipsis)
        places[i : i + 1] = [slice(None)] * (len(shape) + 2 - len(places))
    if places[:1] != [slice(None)] or len(places) > len(shape) + 1:
        raise NetworkError("it picks some samples: only features of all are picked")
    for axis in reversed(range(1, len(places))):
        match places[axis]:
            case slice() as part:
                start, end, step = part.indices(shape[axis - 1])
                if part != slice(None):
                    name = _sliced(at, name, axis, start, end, step)
            case int(place):
                name = at.nodes.call("Gather", name, np.array(place), axis=axis)
            case [*_] as some if all(isinstance(n, int) for n in some):
                name = at.nodes.call("Gather", name, np.array(some), axis=axis)
            case other:
                raise NetworkError(f"the index {str(other)[:40]} is not read")
    return at.nodes.call("Reshape", name, np.array([-1, *at.value.shape[1:]])) if new else name


def _reduced(operator: str) -> Call:
    def call(at: Traced, x: Any, dim: Any, keepdim: bool = False) -> str:
        axes = [at.axis(x, axis) for axis in (dim if isinstance(dim, list | tuple) else [dim])]
        return at.nodes.call(operator, at.name(x), np.array(axes), keepdims=int(keepdim))

    return call


def _reshaped(at: Traced, x: Any, *_: Any, **__: Any) -> str:
    """Samples of the shape that they have then; `Traced` has seen that each is one still."""
    return at.nodes.call("Reshape", at.name(x), np.array([-1, *at.value.shape[1:]]))


def _permuted(at: Traced, x: Any, *dims: Any) -> str:
    order = [axis % len(dims) for axis in (dims[0] if isinstance(dims[0], tuple | list) else dims)]
    return _transposed_to(at, x, order)


def _transposed(at: Traced, x: Any, dim0: int, dim1: int) -> str:
    order = list(range(len(at.shape(x)) + 1))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return _transposed_to(at, x, order)


def _transposed_to(at: Traced, x: Any, order: list[int]) -> str:
    if order[0] != 0:
        raise NetworkError("it moves the axis of samples")
    return at.nodes.call("Transpose", at.name(x), perm=tuple(order))


def _nothing(at: Traced, x: Any, *_: Any, **__: Any) -> str:
    return at.name(x)


CALLS: dict[str, Call] = {
    "add": _binary("Add"), "sub": _binary("Sub"), "subtract": _binary("Sub"), "rsub": _subtracted_from,
    "mul": _binary("Mul"), "multiply": _binary("Mul"), "truediv": _binary("Div"), "div": _binary("Div"),
    "divide": _binary("Div"), "true_divide": _binary("Div"), "maximum": _binary("Max"), "max": _binary("Max"),
    "minimum": _binary("Min"), "min": _binary("Min"), "matmul": _binary("MatMul"), "bmm": _binary("MatMul"),
    "mm": _binary("MatMul"), "pow": _power, "linear": _linear,
    **{name: _unary(name.title()) for name in ("neg", "abs", "exp", "log", "sqrt", "sin", "cos", "tan", "erf",
       "reciprocal", "floor", "ceil", "round", "sign", "asin", "acos", "atan", "sinh", "cosh")},
    **{name: _activation(name) for name in ("square", "log1p", "expm1", "log10", "erfc")},
    **{kind.lower(): _stock(kind, **usual) for kind, usual in STOCK.items()},
    "clamp": _clamp, "clip": _clamp, "getitem": _item, "stack": _stacked, "chunk": _parts, "split": _parts,
    "cat": _concatenated, "concat": _concatenated, "concatenate": _concatenated,
    "mean": _reduced("ReduceMean"), "sum": _reduced("ReduceSum"), "amax": _reduced("ReduceMax"),
    "amin": _reduced("ReduceMin"), "prod": _reduced("ReduceProd"), "logsumexp": _reduced("ReduceLogSumExp"),
    **dict.fromkeys(("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze"), _reshaped),
    "permute": _permuted, "transpose": _transposed, "swapaxes": _transposed,
    **dict.fromkeys(("alphadropout", "clone", "contiguous", "cpu", "cuda", "detach", "double", "dropout",
                     "featurealphadropout", "float", "half", "to", "type", "typeas"), _nothing),
}  # fmt: skip
"""By name, without underscores."""
