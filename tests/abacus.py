"""An array library that nobody here has heard of: the standard over NumPy, on two devices that do not mix."""

import operator
from types import SimpleNamespace

import array_api_compat.numpy as xp
import numpy as np

__version__ = "7.0"
__array_api_version__ = "2024.12"

DEVICES = ("bead0", "bead1")


class Array:
    def __init__(self, values, device):
        self.values, self.device = np.asarray(values), device

    def __array_namespace__(self, api_version=None):
        import abacus

        return abacus

    dtype = property(lambda self: self.values.dtype)
    shape = property(lambda self: self.values.shape)
    ndim = property(lambda self: self.values.ndim)
    T = property(lambda self: Array(self.values.T, self.device))

    def __getitem__(self, key):
        return Array(self.values[key], self.device)

    def __float__(self):
        return float(self.values)

    def __bool__(self):
        return bool(self.values)

    def __array__(self, *_, **__):
        raise TypeError("beads are counted by to_host")

    def to_host(self):
        return self.values.copy()


def wrapping(function):
    """The same function of arrays here, all on one device."""

    def wrapped(*arguments, **options):
        devices = {a.device for a in arguments if isinstance(a, Array)}
        if len(devices) > 1 or any(isinstance(a, np.ndarray) for a in arguments):
            raise TypeError(f"arrays are on {devices}, or NumPy's")
        found = function(*(a.values if isinstance(a, Array) else a for a in arguments), **options)
        return Array(found, *devices) if isinstance(found, (np.ndarray, np.generic)) and devices else found

    return wrapped


for name in ["matmul", "add", "mul", "sub", "truediv", "pow"]:
    for form in (f"__{name}__", f"__r{name}__"):
        setattr(Array, form, wrapping(getattr(np.ndarray, form)))
for name in ["neg", "abs", "lt", "le", "gt", "ge"]:
    setattr(Array, f"__{name}__", wrapping(getattr(operator, name)))


def __getattr__(name):
    value = getattr(xp, name)
    return wrapping(value) if callable(value) and not isinstance(value, type) else value


def asarray(values, *, dtype=None, device=None, copy=None):
    if isinstance(values, Array):
        values, device = values.values, device or values.device
    return Array(np.array(values, dtype=dtype), device or DEVICES[0])


def __array_namespace_info__():
    info = xp.__array_namespace_info__()
    return SimpleNamespace(
        devices=lambda: list(DEVICES),
        dtypes=lambda *, device=None, kind=None: info.dtypes(kind=kind),
        default_dtypes=lambda *, device=None: info.default_dtypes(),
    )
