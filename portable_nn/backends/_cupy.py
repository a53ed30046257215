"""CuPy on CUDA and ROCm GPUs; specs name them by number, `cupy:0`, and `cupy` is the current one.

CuPy works on the thread's current device, whatever arrays it is given: results are allocated there, arrays of
another device are refused. So what is computed here makes its device current first, where it is not.
`cupy.cuda.Device` compares and does not hash, and in older versions each object kept what to go back to: when
two threads entered one, it sent one of them to the other's device. So each ``with`` has an object of its own, and
keys hold numbers.

What one stream writes another may read too early, so `place` waits for the upload: weights that one stream
placed serve all. `numpy.asarray` of CuPy's arrays raises; `asnumpy` is explicit, and copies on the stream that is
current on the current device: hence the ``with`` there. TF32 is off unless the environment variable CUPY_TF32
turns it on.
"""

from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from math import sqrt
from operator import methodcaller
from typing import Any, final

import numpy as np

from portable_nn._typing import Array, Device, DType
from portable_nn.backends._base import Backend, Forward, Kernel, wide
from portable_nn.layers import Dense, Layer, Rescaling

FULL = "cudaErrorMemoryAllocation", "CUBLAS_STATUS_ALLOC_FAILED", "hipErrorOutOfMemory"
"""How errors begin of what takes memory beside CuPy's pool; that of the pool is a MemoryError."""


@final
class CuPy(Backend):
    """CuPy on one GPU."""

    name = "cupy"
    namespace = "array_api_compat.cupy"
    package = "cupy"
    install = "cupy-cuda12x  # or cupy-cuda13x, as nvidia-smi says"

    def __hash__(self) -> int:
        return hash((self.name, self.device.id))

    @staticmethod
    def key(x: Array) -> Hashable:
        """Dtype and number of the GPU."""
        return x.dtype, x.data.device_id

    @classmethod
    def devices(cls) -> list[str]:
        """The GPUs by number, the current one first."""
        import cupy

        current = cupy.cuda.runtime.getDevice()
        count = cupy.cuda.runtime.getDeviceCount()
        return sorted(map(str, range(count)), key=lambda device: int(device) != current)

    @classmethod
    def parse(cls, device: str) -> Device:
        """The device of a number."""
        import cupy

        return cupy.cuda.Device(int(super().parse(device)))

    def device_name(self) -> str:
        """The GPU's number."""
        return str(self.device.id)

    def place(self, array: np.ndarray[Any, Any], *, share: bool = False) -> Array:
        """A copy on this GPU, there for every stream."""
        import cupy

        with cupy.cuda.Device(self.device.id):
            return cupy.array(array, blocking=True)

    @property
    def kernels(self) -> Mapping[str, Kernel]:
        """Those that take fewer kernels."""
        return _kernels()

    def steps_of(self, layer: Layer, like: Array, dtype: DType) -> tuple[Forward, ...]:
        """The bias is added in place, which takes no memory."""
        if isinstance(layer, Rescaling) and np.dtype(dtype) == np.float16:  # to which the host rounds its numbers
            return tuple(map(np.errstate(over="ignore"), super().steps_of(layer, like, dtype)))
        if not isinstance(layer, Dense):
            return super().steps_of(layer, like, dtype)
        product, bias = methodcaller("__matmul__", layer.weight), methodcaller("__iadd__", layer.bias)
        return product, bias, self.activation(layer.activation, dtype)

    def entered(self, function: Forward) -> Forward:
        """With this GPU the current one, at no cost where it is that already."""
        import cupy

        number, current, on = self.device.id, cupy.cuda.runtime.getDevice, cupy.cuda.Device

        def on_this_gpu(x: Array) -> Array:
            if current() == number:
                return function(x)
            with on(number):
                return function(x)

        return on_this_gpu

    def is_out_of_memory(self, error: Exception) -> bool:
        """That of the memory pool, of CUDA and of cuBLAS."""
        return isinstance(error, MemoryError) or str(error).startswith(FULL)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """Fetched from the GPU explicitly."""
        import cupy

        with array.device:
            return np.asarray(cupy.asnumpy(array))

    def synchronize(self, array: Array) -> None:
        """Wait for the array's GPU."""
        array.device.synchronize()

    def peak_memory(self) -> int | None:
        """What the memory pool has taken from the device, and keeps."""
        import cupy

        with cupy.cuda.Device(self.device.id):
            return int(cupy.get_default_memory_pool().total_bytes())

    @contextmanager
    def full_float32(self) -> Iterator[None]:
        """Full products even where CUPY_TF32 is set."""
        from cupy._core import _routines_linalg as routines

        float32 = np.dtype(np.float32)
        before = routines.get_compute_type(float32)
        routines.set_compute_type(float32, routines.COMPUTE_TYPE_FP32)
        try:
            yield
        finally:
            routines.set_compute_type(float32, before)


@cache
def _kernels() -> Mapping[str, Kernel]:
    from cupyx.scipy.special import erfc

    def gelu(x: Array) -> Array:
        gate = erfc(x * -sqrt(0.5))
        gate *= x
        gate *= 0.5
        return gate

    return {"gelu": wide(gelu)}
