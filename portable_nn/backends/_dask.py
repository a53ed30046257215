"""Dask: arrays in chunks, lazy. The device of a Dask array is the backend of its chunks (``x._meta``).

Weights become Dask arrays of one chunk, held by the library that holds the chunks of `x`. A spec may name it,
`dask:cupy:0`; without, chunks are NumPy's. Dask takes no library whose dtypes are not NumPy's.
"""

from collections.abc import Hashable, Mapping
from typing import Any, final

import array_api_compat
import numpy as np

from portable_nn._typing import Array, Device, DType
from portable_nn.backends._base import Backend, Forward, by_maximum


@final
class Dask(Backend):
    """Dask over another backend."""

    name = "dask"
    namespace = "array_api_compat.dask.array"
    package = "dask.array"
    install = "'dask[array]'"
    lazy = True

    @classmethod
    def devices(cls) -> list[str]:
        """Chunks of NumPy arrays."""
        return ["numpy"]

    @classmethod
    def version(cls) -> str:
        """The version of the package around `dask.array`."""
        import dask

        return str(dask.__version__)

    @classmethod
    def parse(cls, device: str) -> Device:
        """The backend of the chunks."""
        from portable_nn.backends import get

        return get(device or "numpy")

    def device_name(self) -> str:
        """The backend of the chunks where it is not NumPy."""
        name = str(self.device)
        return "" if name == "numpy" else name

    def dtype(self, name: str) -> DType:
        """As the chunks have it."""
        return self.device.dtype(name)

    def dtype_name(self, dtype: DType) -> str:
        """As the chunks have it."""
        return str(self.device.dtype_name(dtype))

    @property
    def kernels(self) -> Mapping[str, Forward]:
        """Those that take fewer tasks."""
        return by_maximum(self.xp)

    @staticmethod
    def key(x: Array) -> Hashable:
        """Dtype, and what the chunks depend on."""
        from portable_nn.backends import of

        chunk = x._meta
        return x.dtype, type(chunk), of(chunk, array_api_compat.array_namespace(chunk)).key(chunk)

    def place(self, array: np.ndarray[Any, Any], *, share: bool = False) -> Array:
        """One chunk, placed by the backend of the chunks."""
        import dask.array

        chunk = self.device.place(array, share=share)
        return dask.array.from_array(chunk, chunks=chunk.shape, asarray=False)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """Computed, then fetched by the backend of the chunks."""
        return self.device.to_numpy(array.compute())  # type: ignore[no-any-return]

    def synchronize(self, array: Array) -> None:
        """Compute, and wait for the chunks' device."""
        self.device.synchronize(array.compute())
