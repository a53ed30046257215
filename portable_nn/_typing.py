"""Names for types that no library exports yet.

The array API standard has no typing package in use. So public signatures know an array by what those of all
libraries have, `AnyArray`, and use the type variable `A`: an array of some library comes in, one of the same
library goes out. Inside the package, which calls what the standard has and more, an array is `Any`.
"""

from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import numpy as np


class AnyArray(Protocol):
    """An array of any library."""

    @property
    def dtype(self) -> Any:
        """The library's own."""

    @property
    def shape(self) -> Any:
        """Lengths of the axes; one that is not known is None, or nan."""

    @property
    def ndim(self) -> int:
        """How many axes there are."""


class Table(Protocol):
    """A table or a column of one, of pandas, Polars, Arrow or xarray.

    Overloads begin with it: a column looks like an array too, and what type checkers know nothing of, `Any`,
    gives `Any` only where the first of them does.
    """

    def to_numpy(self) -> Any:
        """What it holds, as an array of NumPy."""


class AnyDType(Protocol):
    """A dtype of any library."""

    @property
    def itemsize(self) -> int:
        """Bytes of a value."""


A = TypeVar("A", bound=AnyArray)
F = TypeVar("F", bound=np.floating[Any])
Array: TypeAlias = Any
Namespace: TypeAlias = Any
Device: TypeAlias = Any
DType: TypeAlias = Any
Exact: TypeAlias = np.integer[Any] | np.bool
Numbers: TypeAlias = float | list[Any] | tuple[Any, ...]
NumPyArray: TypeAlias = np.ndarray[Any, Any]
Samples: TypeAlias = AnyArray | Table | Numbers | dict[str, Any]
Weights: TypeAlias = AnyArray | Table | list[Any] | tuple[Any, ...]

FloatName: TypeAlias = Literal["float16", "bfloat16", "float32", "float64"]
FloatLike: TypeAlias = FloatName | AnyDType | type[Any]
State: TypeAlias = Literal["ready", "no device", "import failed", "not installed"]
Plain: TypeAlias = Literal[
    "absolute",
    "celu",
    "clipped_relu",
    "cosine",
    "elu",
    "erf",
    "erfc",
    "exp",
    "exp10",
    "expm1",
    "gelu",
    "gelu_tanh",
    "hard_sigmoid",
    "hard_swish",
    "hard_tanh",
    "hardshrink",
    "identity",
    "leaky_relu",
    "log",
    "log10",
    "log1p",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "ndtr",
    "reciprocal",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "sine",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "sqrt",
    "square",
    "squareplus",
    "step",
    "tanh",
    "tanhshrink",
]
"""Activations that a Dense takes."""

ActivationName: TypeAlias = Literal[Plain, "clip", "glu", "learned_swish", "prelu", "threshold"]
