"""Names for types that no library exports yet.

The array API standard has no typing package in use. So public signatures know an array by what those of all
libraries have, `AnyArray`, and use the type variable `A`: an array of some library comes in, one of the same
library goes out. Inside the package, which calls what the standard has and more, an array is `Any`.
"""

from typing import Any, Protocol, TypeAlias, TypeVar

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
    """A table or a column of one, of pandas, Polars, Arrow or xarray."""

    def to_numpy(self) -> Any:
        """What it holds, as an array of NumPy."""


A = TypeVar("A", bound=AnyArray)
F = TypeVar("F", bound=np.floating[Any])
Array: TypeAlias = Any
Namespace: TypeAlias = Any
Device: TypeAlias = Any
DType: TypeAlias = Any
Exact: TypeAlias = np.integer[Any] | np.bool
Numbers: TypeAlias = float | list[Any] | tuple[Any, ...]
NumPyArray: TypeAlias = np.ndarray[Any, Any]
