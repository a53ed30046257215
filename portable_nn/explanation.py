"""What calling a network on an array moves, casts and copies."""

from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias

from portable_nn import backends
from portable_nn._arrays import first_of, namespace, native
from portable_nn._typing import Samples
from portable_nn.backends import FLOATS, Backend
from portable_nn.network import Network, check_network

__all__ = ["Explanation", "explain"]

_Weights: TypeAlias = Literal["copied", "cached", "shared", "cast"]


@dataclass(frozen=True)
class Explanation:
    """What a call does besides computing.

    Attributes
    ----------
    library, device : str
        Where the input is, and stays.
    dtype : str
        Of the computation.
    input_cast : str
        From which dtype to which the input is cast, on its device; "" if it is not.
    weights : {"copied", "cached", "shared", "cast"}
        Copied beside the input now; taken from such a copy; used as they are; or, where they are not NumPy's,
        cast on their device at each call.
    moved_bytes : int
        Of the weights that were copied, as they were rewritten.
    precision : str
        How products are rounded now: the dtype, or "tf32" or "bfloat16" where those of float32 are; "unknown"
        while tracing.

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> net = pnn.load("mnist")
    >>> pnn.explain(net, np.zeros(784, dtype=np.float32)).weights
    'copied'
    >>> pnn.explain(net, np.zeros(784, dtype=np.float32)).weights
    'cached'
    """

    library: str
    device: str
    dtype: str
    input_cast: str
    weights: _Weights
    moved_bytes: int
    precision: str

    def __str__(self) -> str:
        moved = f", {self.moved_bytes:,} bytes" if self.moved_bytes else ""
        return "\n".join(
            (
                f"computed in  {self.library}, where the input is",
                f"device       {self.device}",
                f"dtype        {self.dtype}",
                f"input        {f'cast, {self.input_cast}' if self.input_cast else 'as it came'}; not moved",
                f"weights      {self.weights}{moved}",
                f"products     rounded to {self.precision}",
            )
        )


def explain(net: Network, x: Samples) -> Explanation:
    """Do what calling the network on `x` does, but for computing, and say what that was.

    Parameters
    ----------
    net : Network
    x : array, or dict of arrays
        As in a call of the network.

    Returns
    -------
    Explanation

    Raises
    ------
    InputError, ShapeError, PlacementError
        As in a call of the network.

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> print(pnn.explain(pnn.load("mnist"), np.zeros((3, 784), dtype=np.uint8)))
    computed in  numpy, where the input is
    device       cpu
    dtype        float32
    input        cast, uint8 to float32; not moved
    weights      copied, 157,000 bytes
    products     rounded to float32
    """
    x = check_network(net).passes.taken(x)
    backend = backends.of(first_of(x), namespace(first_of(x)))
    name = backend.dtype_name(net.passes.dtype_for(x, backend))
    dtype = backend.computed_in(name) if net.passes.follows else name
    moved = 0
    cached = net.passes.has(backend, dtype)
    net.passes.find("outputs", x)
    if not net.passes.follows:
        weights: _Weights = "shared" if name == net.dtype else "cast"
    elif cached:
        weights = "cached"
    else:
        placed, _ = net.passes.place(backend, dtype)
        given = {id(array) for layer in net.layers for array in layer.arrays.values()}
        arrays = [array for layer in placed for array in layer.arrays.values() if id(array) not in given]
        moved = sum(prod(array.shape) for array in arrays) * FLOATS[dtype]
        weights = "copied" if arrays else "shared"
    came = {str(native(array.dtype)).rpartition(".")[2]: None for array in net.passes.floats(x)}
    return Explanation(
        library=backend.name or backend.xp.__name__,
        device=backend.device_name() or "cpu",
        dtype=dtype,
        input_cast=", ".join(f"{each} to {dtype}" for each in came if each != dtype),
        weights=weights,
        moved_bytes=moved,
        precision=_precision(backend, dtype),
    )


def _precision(backend: Backend, dtype: str) -> str:
    if dtype != "float32":
        return dtype
    return "unknown" if backend.tracing or backend.device is None else backend.float32_precision()
