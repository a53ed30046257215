"""Names for types that no library exports yet.

The array API standard has no typing package in use, so an array is `Any` inside the package. Public
signatures use the type variable `A`: an array of some library comes in, one of the same library goes out.
"""

from typing import Any, TypeAlias, TypeVar

import numpy as np

A = TypeVar("A", bound=Any)
Array: TypeAlias = Any
Namespace: TypeAlias = Any
Device: TypeAlias = Any
DType: TypeAlias = Any
NumPyArray: TypeAlias = np.ndarray[Any, Any]
