"""NumPy: the default, and with float64 the reference that others are measured against."""

from typing import final

from portable_nn.backends._base import Backend


@final
class NumPy(Backend):
    """NumPy on the CPU."""

    name = "numpy"
    namespace = "array_api_compat.numpy"
    package = "numpy"
    install = "numpy"
    in_place = True

    def device_name(self) -> str:
        """Nothing: there is one device."""
        return ""
