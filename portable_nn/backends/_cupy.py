"""CuPy on CUDA and ROCm GPUs; specs name them by number, `cupy:0`.

CuPy allocates on the current device whatever the arrays beside it, so placing and waiting happen inside
``with device``. It refuses implicit copies: `numpy.asarray` of its arrays raises, `asnumpy` is explicit.
TF32 is off unless the environment variable CUPY_TF32 turns it on.
"""

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any, final

import numpy as np

from portable_nn._typing import Array, Device
from portable_nn.backends._base import Backend, Forward
from portable_nn.layers import Layer


@final
class CuPy(Backend):
    """CuPy on one GPU."""

    name = "cupy"
    namespace = "array_api_compat.cupy"
    package = "cupy"
    install = "cupy-cuda12x  # or cupy-cuda13x, as nvidia-smi says"

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
        """A copy on this GPU."""
        with self.device:
            return self.xp.asarray(array, copy=True)

    @staticmethod
    def key(x: Array) -> Hashable:
        """Dtype and GPU."""
        return x.dtype, x.data.device_id

    def entered(self, forward: Forward, layers: tuple[Layer, ...], like: Array) -> Forward:
        """With this GPU the current one: CuPy allocates results there."""

        def on_this_gpu(x: Array) -> Array:
            with self.device:
                return forward(x)

        return on_this_gpu

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

        with self.device:
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
