"""dpnp: NumPy on SYCL devices. Specs name them by DPC++ filter strings, `dpnp:opencl:cpu:0`.

On an x86-64 CPU without an Intel driver the OpenCL loader finds the runtime that pip installed through the
environment variable OCL_ICD_FILENAMES=$VIRTUAL_ENV/lib/libintelocl.so.
"""

from typing import Any, final

import numpy as np

from portable_nn._typing import Array, Device, DType
from portable_nn.backends._base import Backend


@final
class Dpnp(Backend):  # pragma: no cover: it takes dpnp
    """dpnp on one SYCL device."""

    name = "dpnp"
    namespace = "dpnp"
    package = "dpnp"
    install = "dpnp"
    pickles = False

    @classmethod
    def devices(cls) -> list[str]:
        """The filter strings of the SYCL devices, the default one first."""
        import dpctl

        found = [device.filter_string for device in dpctl.get_devices()]
        default = dpctl.SyclDevice().filter_string if found else ""
        return sorted(found, key=lambda device: device != default)

    @classmethod
    def parse(cls, device: str) -> Device:
        """The device object that the arrays made there report."""
        import dpctl
        import dpnp

        try:
            return dpnp.empty(0, device=device or None).device
        except (ValueError, dpctl.SyclDeviceCreationError) as error:
            raise ValueError(f"devices here: {', '.join(cls.devices()) or 'none'}") from error

    def device_name(self) -> str:
        """The device's filter string."""
        return str(self.device.sycl_device.filter_string)

    def dtype(self, name: str) -> DType:
        """Not float16, for which its products are not made."""
        return super().dtype("float32" if name == "float16" else name)

    def is_out_of_memory(self, error: Exception) -> bool:
        """SYCL's allocator has an error class of its own."""
        import dpctl.memory

        return isinstance(error, (MemoryError, dpctl.memory.USMAllocationError))

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """Fetched explicitly: dpnp refuses implicit copies."""
        return np.asarray(self.xp.asnumpy(array))

    def synchronize(self, array: Array) -> None:
        """Wait for the array's queue."""
        array.sycl_queue.wait()
