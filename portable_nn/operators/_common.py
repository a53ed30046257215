"""What an operator is: a function of arrays, and what its signature says of them."""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, signature
from math import prod
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import array_api_compat
import numpy as np

from portable_nn._typing import Array, Namespace, NumPyArray
from portable_nn.errors import NetworkError, ShapeError

__all__ = [
    "Fixed",
    "Host",
    "Known",
    "Operator",
    "Repeated",
    "Table",
    "View",
    "beside",
    "check_size",
    "operator",
    "shape_of",
]

Host: TypeAlias = Annotated[Any, "host"]
"""An input whose values decide shapes: `Fixed` or a NumPy array, whatever library the others are of."""

Known: TypeAlias = Annotated[Any, "known"]
"""An input that is `Fixed` where its values are known before any data are, else of the others' library."""

View: TypeAlias = Annotated[Array, "view"]
"""An output that may be memory of the first input."""

Repeated: TypeAlias = Annotated[Array, "repeated"]
"""An output that may be memory of the first input, and hold a value of it in several places."""

Table: TypeAlias = dict[str, dict[int, Callable[..., Any]]]
"""Operators by name, each with its forms by the version of the opset that brought them."""

Lent: TypeAlias = Literal["", "view", "repeated"]

MANY = 10**6
"""Inputs of an operator that takes any number."""

LARGEST = 2**26
"""Values that an operator may make of few: what a file asks for is not to fill the memory."""


@dataclass(frozen=True)
class Operator:
    """A function of arrays, and what its signature says.

    Attributes
    ----------
    function : callable
        It takes arrays in order and attributes by name, `xp`, and what else of `context` it names.
    hosts, known : frozenset of int
        The positions of inputs that are `Host`, or `Known`.
    least, most : int
        How many inputs it takes.
    attributes : frozenset of str, or None
        Their names; None if it takes any.
    needed : frozenset of str
        Those without a default.
    context : frozenset of str
        What it wants besides `xp`: `floating`, the floating dtype of the computation; `outputs`, how many of its
        outputs are read.
    on_host : bool
        Whether it gives NumPy arrays whatever it is given.
    lends : "", "view" or "repeated"
        Whether what it gives may be `View` or `Repeated`.
    direct : callable or None
        Of a namespace, what does the same for arrays alone, where there are no attributes.

    Examples
    --------
    >>> from portable_nn.operators import find
    >>> find("Gemm", {"": 20}).most
    3
    """

    function: Callable[..., Any]
    hosts: frozenset[int]
    known: frozenset[int]
    least: int
    most: int
    attributes: frozenset[str] | None
    needed: frozenset[str]
    context: frozenset[str]
    on_host: bool
    lends: Lent
    direct: Callable[[Namespace], Callable[..., Any]] | None


LENDING: dict[Lent, tuple[Any, ...]] = {"view": (View, tuple[View, ...]), "repeated": (Repeated,)}

CONTEXT = frozenset({"xp", "floating", "outputs"})


def operator(function: Callable[..., Any]) -> Operator:
    """Read the signature of an operator's function."""
    found = signature(function)
    given = list(found.parameters.values())
    kinds = {each.kind for each in given}
    inputs = [each for each in given if each.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    named = [each for each in given if each.kind is Parameter.KEYWORD_ONLY]
    return Operator(
        function=function,
        hosts=frozenset(i for i, each in enumerate(inputs) if each.annotation == Host),
        known=frozenset(i for i, each in enumerate(inputs) if each.annotation == Known),
        least=sum(each.default is Parameter.empty for each in inputs),
        most=MANY if Parameter.VAR_POSITIONAL in kinds else len(inputs),
        attributes=None if Parameter.VAR_KEYWORD in kinds else frozenset(each.name for each in named) - CONTEXT,
        needed=frozenset(each.name for each in named if each.default is Parameter.empty) - CONTEXT,
        context=frozenset(each.name for each in named) & CONTEXT - {"xp"},
        on_host=found.return_annotation == NumPyArray,
        lends=next((name for name, kinds in LENDING.items() if found.return_annotation in kinds), ""),
        direct=getattr(function, "direct", None),
    )


def beside(x: Array, values: Any, xp: Namespace, dtype: Any = None) -> Array:
    """Numbers as an array of the library and on the device of `x`, cast on the host: devices may lack dtypes."""
    host = np.array(values)
    name = str(dtype).rpartition(".")[2]
    if dtype is not None:
        host = host.astype(name if hasattr(np, name) else np.float32)
    found = xp.asarray(host, device=array_api_compat.device(x), copy=True)
    return found if dtype is None or found.dtype == dtype else xp.astype(found, dtype)


def shape_of(x: Array) -> tuple[int, ...]:
    """The shape, all of whose lengths are known."""
    if any(n is None or n != n for n in x.shape):
        raise ShapeError("chunks of unknown size have no shape yet: call x.compute_chunk_sizes() first")
    return tuple(map(int, x.shape))


def check_size(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape itself, if an array of it is not too large to be made of nothing."""
    if min(shape, default=1) < 0 or prod(n for n in shape if n) > LARGEST:  # also of no samples
        raise NetworkError(f"an array of shape {shape}, which the graph makes, is no shape or too large")
    return shape


class Fixed(NamedTuple):
    """Integers that are known before any data: Python's own, for compilers take NumPy's arrays for data."""

    values: tuple[int, ...]
    shape: tuple[int, ...]


def host_ints(values: NumPyArray | Fixed) -> tuple[int, ...]:
    """The numbers of a host array in one dimension."""
    return values.values if isinstance(values, Fixed) else tuple(int(value) for value in np.ravel(values))
