"""Backends with a fault planted in each, for the comparison to find. They are NumPy but for the fault.

The device None binds a network to whatever NumPy arrays these backends place.
"""

import os
import types
from functools import partial
from threading import Event
from typing import ClassVar

import array_api_compat.numpy
import numpy as np

from portable_nn.backends import Backend


class Faulty(Backend):
    name: ClassVar[str] = "faulty"

    def device_name(self):
        return ""


class Healthy(Faulty):
    """No fault: a backend of the caller's own that agrees."""


class Transposed(Faulty):
    """Matrices arrive transposed: the shapes fit where a matrix is square."""

    def place(self, array, *, share=False):
        square_or_weight = array.ndim == 2 and array.dtype != np.uint8
        return (array.T if square_or_weight else array).copy()


class Rounded(np.ndarray):
    """An array whose products round their inputs to some bits of the significand."""

    bits: ClassVar[int]

    def __matmul__(self, other):
        return np.matmul(rounded(self, self.bits), rounded(other, self.bits)).view(type(self))


class InTF32(Rounded):
    bits = 10


class InBFloat16(Rounded):
    bits = 7


def rounded(array, bits):
    """float32 rounded to nearest with that many bits after the leading one."""
    dropped = 23 - bits
    words = np.asarray(array, dtype=np.float32).view(np.uint32)
    return ((words + (1 << dropped - 1)) >> dropped << dropped).view(np.float32)


class Rounding(Faulty):
    """Products in TF32 or bfloat16."""

    array: ClassVar[type]

    def place(self, array, *, share=False):
        return array.copy().view(self.array)

    def to_numpy(self, array):
        return np.array(array)


class TF32(Rounding):
    array = InTF32


class BFloat16(Rounding):
    array = InBFloat16


class Queued(np.ndarray):
    """An array whose values are there once the device was synchronised."""

    ready = False


class Stale(Faulty):
    """A device that hands out the memory's old content until it is synchronised."""

    def place(self, array, *, share=False):
        return array.copy().view(Queued)

    def synchronize(self, array):
        array.ready = True

    def to_numpy(self, array):
        return np.array(array) if array.ready else np.zeros(array.shape, array.dtype)


class Noisy(Faulty):
    """Products are off by up to a tenth, so that labels change."""

    def place(self, array, *, share=False):
        noise = np.random.default_rng(0).uniform(0.9, 1.1, array.shape)
        return (array * noise).astype(array.dtype) if array.ndim == 2 else array.copy()


class Skewed(Faulty):
    """The last output is off by a thousandth."""

    def prepared(self, layers, like, dtype):
        return *super().prepared(layers, like, dtype), self.skewed

    def skewed(self, outputs):
        outputs[..., -1] *= 1.001
        return outputs


class Reversing(Faulty):
    """Outputs are in the wrong order."""

    def prepared(self, layers, like, dtype):
        return *super().prepared(layers, like, dtype), lambda outputs: outputs[..., ::-1]


class Narrowing(Faulty):
    """The last output is missing."""

    def prepared(self, layers, like, dtype):
        return *super().prepared(layers, like, dtype), lambda outputs: outputs[..., :-1]


class Losing(Faulty):
    """The first output of each sample is nan."""

    def prepared(self, layers, like, dtype):
        return *super().prepared(layers, like, dtype), self.lost

    def lost(self, outputs):
        outputs[..., 0] = np.nan
        return outputs


class Mislabelling(Faulty):
    """The label of the last sample is another than its outputs say."""

    def takes(self, other):
        return other.name == "numpy"


MISLABELLED = types.ModuleType("mislabelled")
MISLABELLED.__getattr__ = partial(getattr, array_api_compat.numpy)


def one_wrong(x, axis):
    labels = np.argmax(x, axis=axis)
    labels[-1:] = (labels[-1:] + 1) % x.shape[axis]
    return labels


MISLABELLED.argmax = one_wrong


class Crashing(Faulty):
    """The process ends while the network computes."""

    def synchronize(self, array):
        os.abort()


class Leaving(Faulty):
    """The process leaves without a word."""

    def synchronize(self, array):
        os._exit(3)


class Hanging(Faulty):
    """The device never answers."""

    def synchronize(self, array):
        Event().wait()


class Forking(Faulty):
    """A second process goes on, holding what this one has open; it tells its id, and whether it was let live."""

    independent: ClassVar[bool] = False
    forked: ClassVar[bool] = False

    def synchronize(self, array):
        if self.forked:
            return
        type(self).forked = True
        ready, tell = os.pipe()
        if os.fork():
            os.read(ready, 1)
            return
        if self.independent:
            os.setsid()
        pipe = os.open(os.environ["FAULTY_PIPE"], os.O_WRONLY)
        os.write(pipe, f"{os.getpid()} ".encode())
        os.write(tell, b".")
        Event().wait(20)
        os.write(pipe, b"was let live")
        os._exit(0)


class ForkingAndHanging(Forking):
    """The same, in a session of its own, while this process hangs."""

    independent = True

    def synchronize(self, array):
        super().synchronize(array)
        Event().wait()


class Wrapper:
    """An array of a library of its own, whose namespace sums along the wrong axis."""

    def __init__(self, values):
        self.values = values

    def __array_namespace__(self, api_version=None):
        return XP

    shape = property(lambda self: self.values.shape)
    ndim = property(lambda self: self.values.ndim)
    dtype = property(lambda self: self.values.dtype)
    device = property(lambda self: None)

    def __getitem__(self, key):
        return Wrapper(self.values[key])


def unwrapped(x):
    return x.values if isinstance(x, Wrapper) else x


def wrapped(x):
    return Wrapper(x) if isinstance(x, (np.ndarray, np.generic)) else x


def wrapping(function):
    return lambda *args, **kwargs: wrapped(function(*map(unwrapped, args), **kwargs))


def wrapping_attribute(name):
    value = getattr(array_api_compat.numpy, name)
    return wrapping(value) if callable(value) and not isinstance(value, type) else value


ARITHMETIC = "matmul", "add", "mul", "sub", "truediv", "pow"
OTHERS = "neg", "abs", "lt", "le", "gt", "ge"
for operator in (*ARITHMETIC, *(f"r{operator}" for operator in ARITHMETIC), *OTHERS):
    setattr(Wrapper, f"__{operator}__", wrapping(getattr(np.ndarray, f"__{operator}__")))

XP = types.ModuleType("faulty_library")
XP.__getattr__ = wrapping_attribute
XP.sum = wrapping(lambda x, axis, keepdims: np.sum(x, axis=axis + 1, keepdims=keepdims))


class WrongAxis(Backend):
    """A softmax that normalises along the batch."""

    def device_name(self):
        return ""

    def to_numpy(self, array):
        return array.values


HEALTHY, TRANSPOSED, RUNS_TF32, RUNS_BFLOAT16, STALE, NOISY, SKEWED, REVERSING, NARROWING, LOSING = (
    fault(array_api_compat.numpy, None)
    for fault in (Healthy, Transposed, TF32, BFloat16, Stale, Noisy, Skewed, Reversing, Narrowing, Losing)
)
CRASHING, LEAVING, HANGING, FORKING, FORKING_AND_HANGING = (
    fault(array_api_compat.numpy, None) for fault in (Crashing, Leaving, Hanging, Forking, ForkingAndHanging)
)
WRONG_AXIS = WrongAxis(XP, None)
MISLABELLING = Mislabelling(MISLABELLED, None)
NOT_A_BACKEND = "numpy"
