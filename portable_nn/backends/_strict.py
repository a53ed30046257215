"""array_api_strict: the standard and nothing more, on devices that refuse to mix. For conformance tests.

`no_float64` and `no_x64` have no float64; `no_x64` has no int64 either, so `argmax` fails there: run the
forward pass on it and take labels elsewhere.
"""

from collections.abc import Callable
from typing import Any, final

import numpy as np

from portable_nn._typing import Array, Device
from portable_nn.backends._base import Backend


@final
class ArrayAPIStrict(Backend):
    """array_api_strict on one of its simulated devices."""

    name = "array_api_strict"
    namespace = "array_api_strict"
    package = "array_api_strict"
    install = "array-api-strict"

    @classmethod
    def devices(cls) -> list[str]:
        """The simulated devices."""
        import array_api_strict

        return [cls._name(device) for device in array_api_strict.__array_namespace_info__().devices()]

    @classmethod
    def parse(cls, device: str) -> Device:
        """The device object of that name."""
        import array_api_strict

        return array_api_strict.Device(super().parse(device))

    @staticmethod
    def _name(device: Device) -> str:
        return repr(device).split("'")[1]

    def device_name(self) -> str:
        """The device's name."""
        return self._name(self.device)

    @property
    def at_hand(self) -> Callable[[Array], Array]:
        """In NumPy already."""
        return self.to_numpy

    def has_labels(self) -> bool:
        """`argmax` gives int64 on every device, which `no_x64` refuses."""
        return self.device_name() != "no_x64"

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """Through the CPU device, the one that NumPy may read."""
        return np.asarray(array.to_device(self.xp.Device("CPU_DEVICE")))
