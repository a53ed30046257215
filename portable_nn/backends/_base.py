"""What a backend is: one array library on one device.

The defaults below are the standard's own calls, so they serve any conforming library; a file beside this one
says where a library needs something else, and why.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np

from portable_nn._arrays import float_name, is_narrow
from portable_nn._typing import Array, Device, DType, Namespace
from portable_nn.activations import FUNCTIONS
from portable_nn.layers import Dense, Graph, Layer

Forward: TypeAlias = Callable[[Array], Array]
"""A function from arrays to arrays: a step of a forward pass, or the whole of one."""

_ROUNDING = {"float32": 2**-20, "bfloat16x3": 2**-12, "tf32": 2**-9.5, "bfloat16": float("inf")}


def by_maximum(xp: Namespace) -> Mapping[str, Forward]:
    """Activations without `where` on data, for libraries that take no derivatives: at 0 those would be 1/2."""
    return {
        "relu": lambda x: xp.maximum(x, 0),
        "leaky_relu": wide(lambda x: xp.maximum(x, 0.01 * x)),
        "elu": wide(lambda x: xp.maximum(x, xp.expm1(xp.minimum(x, 0)))),
    }


def leading_axes(layers: tuple[Layer, ...], like: Array) -> int | None:
    """How many axes an array has before those of a sample; None where a sample may have any, or many parts."""
    if any(isinstance(layer, Graph) and layer.has_parts for layer in layers):
        return None
    for layer in layers:
        if isinstance(layer, Graph) and layer.input_shape is None:
            return None
        if layer.input_shape is not None:
            return int(like.ndim) - len(layer.input_shape)
    return None


def _both(first: Forward, second: Forward, x: Array) -> Array:
    return second(first(x))


def wide(function: Forward) -> Forward:
    """What has 16 bits computed in 32, and rounded once."""
    return lambda x: function(x.astype("float32")).astype(x.dtype) if is_narrow(x) else function(x)


@dataclass(frozen=True)
class Backend:
    """One array library on one device.

    Attributes
    ----------
    xp : namespace
        The library's array API namespace.
    device : object
        The library's own device object, None for "wherever arrays are" (under tracing).

    Examples
    --------
    >>> import numpy as np
    >>> import portable_nn as pnn
    >>> backend = pnn.backends.get("numpy")
    >>> backend.to_numpy(backend.place(np.arange(3.0)) + 1)
    array([1., 2., 3.])
    """

    xp: Namespace
    device: Device

    name: ClassVar[str] = ""  # as in specs; "" where the library has no file here
    namespace: ClassVar[str] = ""  # module that is the library's array API namespace
    package: ClassVar[str] = ""  # module whose presence means "installed", and whose __version__ counts
    install: ClassVar[str] = ""  # what to pip install
    pickles: ClassVar[bool] = True  # whether its arrays can be pickled
    lazy: ClassVar[bool] = False  # whether to look at values is to compute them

    def __hash__(self) -> int:
        return hash((type(self), str(self)))  # not every library's devices can be hashed

    def __str__(self) -> str:
        device = self.device_name()
        return f"{self.name or self.xp.__name__}:{device}" if device else self.name or str(self.xp.__name__)

    @classmethod
    def on(cls, device: str = "") -> Self:
        """The library on the device that a spec names, "" for its default."""
        return cls(import_module(cls.namespace), cls.parse(device))

    @classmethod
    def parse(cls, device: str) -> Device:
        """The library's device object for its name in a spec; ValueError lists the choices."""
        choices = cls.devices()
        if device not in ("", *choices):
            raise ValueError(f"devices here: {', '.join(choices) or 'none'}")
        return device or choices[0]

    @classmethod
    def devices(cls) -> list[str]:
        """The devices that are here, the default one first."""
        return ["cpu"]

    def device_name(self) -> str:
        """The device as specs name it."""
        return str(self.device)

    @classmethod
    def version(cls) -> str:
        """The library's version."""
        return str(import_module(cls.package).__version__)

    def dtype(self, name: str) -> DType:
        """The floating dtype of that name, the device's default float where it has none."""
        info = self.xp.__array_namespace_info__()
        if name in ("float32", "float64"):  # the standard's own, which a device may lack all the same
            found = info.dtypes(device=self.device, kind="real floating").get(name)
        else:
            found = getattr(self.xp, name, None)
        return info.default_dtypes(device=self.device)["real floating"] if found is None else found

    def dtype_name(self, dtype: DType) -> str:
        """The name of a floating dtype of this library, an `InputError` if no network computes in it."""
        return float_name(dtype, self.xp)

    def computed_in(self, dtype: str) -> str:
        """The name of the floating dtype in which the library computes what is asked for in another."""
        return dtype

    def place(self, array: np.ndarray[Any, Any], *, share: bool = False) -> Array:
        """A NumPy array in this library, on this device: a copy, unless sharing the memory is allowed."""
        return self.xp.asarray(array, device=self.device, copy=None if share else True)

    @property
    def kernels(self) -> Mapping[str, Forward]:
        """The library's own elementwise activations, where they pay: the same values, tails and derivatives."""
        return {}

    def activation(self, name: str) -> Forward:
        """An activation of arrays of this library."""
        return self.kernels.get(name) or partial(FUNCTIONS[name], xp=self.xp)

    def cast_to(self, dtype: DType) -> Forward:
        """A step that casts."""
        return lambda x: self.xp.astype(x, dtype)

    def suited(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """Layers of NumPy weights, as they are best placed here."""
        return layers

    def prepared(self, layers: tuple[Layer, ...], like: Array) -> tuple[Forward, ...]:
        """Layers whose weights were placed here, as the steps that the library runs best on arrays like that."""
        steps: list[Forward] = []
        for layer in layers:
            if isinstance(layer, Dense) and layer.activation in self.kernels:
                steps += partial(layer.with_activation("identity"), xp=self.xp), self.kernels[layer.activation]
            elif isinstance(layer, Graph):
                steps.append(layer.bound(self.xp, partial(self._dense, like) if like.ndim == 2 else None))
            else:
                steps.append(partial(layer, xp=self.xp))
        return tuple(steps)

    def _dense(self, like: Array, layer: Dense) -> Forward:
        """One Dense inside a graph."""
        first, *others = self.prepared((layer,), like)
        for step in others:
            first = partial(_both, first, step)
        return first

    def takes(self, other: "Backend") -> bool:
        """Whether a network that is bound to this one takes arrays of the other."""
        return self == other or (self.xp is other.xp and None in (self.device, other.device))

    @property
    def of_blocks(self) -> "Backend":
        """The backend that computes: another one where arrays are made of blocks, else itself."""
        return self

    def by_blocks(self, network: Any, result: str, sample: tuple[int, ...], like: Array) -> Forward:
        """A result of a network, block by block, where arrays are made of blocks."""
        raise NotImplementedError

    def has_labels(self) -> bool:
        """Whether the device has the integers that argmax gives."""
        return True

    def is_out_of_memory(self, error: Exception) -> bool:
        """Whether an error says that the device's memory is full, so that a smaller batch may do."""
        return isinstance(error, MemoryError)

    def keeps(self, array: Array) -> bool:
        """Whether `array` is an ordinary one, which may outlive the call that placed it."""
        return True

    def mixes(self, x: Array) -> bool:
        """Whether `x` takes ordinary arrays beside it."""
        return True

    @property
    def tracing(self) -> bool:
        """Whether even NumPy's arrays are placeholders now, whose values nothing may depend on."""
        return False

    @staticmethod
    def key(x: Array) -> Hashable:
        """What the forward pass for arrays like `x` depends on, besides their type."""
        return x.dtype, repr(getattr(x, "device", None))

    def parted(self, forward: Forward, layers: tuple[Layer, ...], like: Array) -> Forward:
        """The forward pass of these layers, in parts of arrays like that where it runs best so."""
        return forward

    def entered(self, function: Forward) -> Forward:
        """The same function, on this device even where another is the current one."""
        return function

    def compiled(self, forward: Forward) -> Forward:
        """The same forward pass, through the library's compiler if it has one."""
        return forward

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """The same values in NumPy, once they are computed."""
        return np.asarray(array)

    def synchronize(self, array: Array) -> None:
        """Wait until `array` is computed."""
        return

    def peak_memory(self) -> int | None:
        """The most bytes that arrays have taken on the device, None where the library does not tell."""
        return None

    def extent(self, x: Array, rows: int) -> tuple[float, float] | None:
        """The smallest and the largest value of the first rows, both nan if all are; None where looking costs."""
        if not self.name or self.lazy or self.tracing or 0 in x.shape or not (self.mixes(x) and self.keeps(x)):
            return None
        x = x[: min(rows, x.shape[0]), ...] if x.ndim > 1 else x
        if not self.xp.isdtype(x.dtype, "real floating"):
            x = self.entered(self.cast_to(self.dtype("float32")))(x)
        ends = [self.entered(end)(x) for end in (self.xp.min, self.xp.max)]
        if not all(map(self.keeps, ends)):
            return None
        low, high = map(float, ends)
        if low != low:
            all_nan = self.entered(lambda x: self.xp.all(self.xp.isnan(x)))(x)
            return (low, low) if bool(all_nan) else None
        return low, high

    def float32_precision(self) -> str:
        """How products of float32 are rounded now, found by trying: float32, bfloat16x3, tf32 or bfloat16."""
        values = np.linspace(1, 2, 128 * 128, dtype=np.float32).reshape(128, 128)
        eye = self.place(np.eye(128, dtype=np.float32))
        products = self.entered(lambda x: x @ eye)(self.place(values))
        self.synchronize(products)
        error = float(np.max(np.abs(self.to_numpy(products) / values - 1)))
        return next(name for name, most in _ROUNDING.items() if error <= most)

    @contextmanager
    def full_float32(self) -> Iterator[None]:
        """Products of float32 in full precision while it lasts; the user's setting comes back after."""
        yield
