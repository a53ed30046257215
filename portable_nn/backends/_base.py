"""What a backend is: one array library on one device.

The defaults below are the standard's own calls, so they serve any conforming library; a file beside this one
says where a library needs something else, and why.
"""

import operator
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from inspect import unwrap
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np

from portable_nn._arrays import FLOATS, float_name, is_narrow
from portable_nn._typing import Array, Device, DType, FloatName, Namespace
from portable_nn.activations import FUNCTIONS
from portable_nn.layers import Activation, Dense, Flatten, Graph, Layer

NO_VALUES = (
    "arrays that jax.jit, torch.func.vmap and the like trace or transform have no values that can be fetched: "
    "call net(x) or net.predict(x) there"
)

Forward: TypeAlias = Callable[[Array], Array]
"""A function from arrays to arrays: a step of a forward pass, or the whole of one."""


def forward_pass(steps: tuple[Forward, ...]) -> Forward:
    """The forward pass: the one loop.

    Parameters
    ----------
    steps : tuple of callables

    Returns
    -------
    callable
        What calls one after another, each on what the one before gave.

    Examples
    --------
    >>> from portable_nn.backends import forward_pass
    >>> forward_pass((abs, str))(-2)
    '2'
    """

    def forward(x: Array) -> Array:
        for step in steps:
            x = step(x)
        return x

    return forward


Kernel: TypeAlias = Callable[..., Array]
"""An activation as a function of an array, which it may overwrite, and of parameters by name."""

_ROUNDING = {"float32": 2**-20, "bfloat16x3": 2**-12, "tf32": 2**-9.5, "bfloat16": float("inf")}


LARGE = 2**24
"""Bytes of more than temporaries take, but those of large batches by wide layers."""


def keep_pages() -> None:
    """Let glibc keep the pages of temporaries for the next ones, as it does once something larger was freed.

    A process that had nothing large yet takes them anew from the system for each, in up to half of its time. This
    raises its ``M_MMAP_THRESHOLD`` for good, as any array of that size does.
    """
    np.empty(LARGE, np.uint8)


def leading_axes(layers: tuple[Layer, ...], like: Array) -> int | None:
    """How many axes an array has before those of a sample; None where a sample may have any."""
    for layer in layers:
        if isinstance(layer, Flatten):
            return int(like.ndim) - len(layer.sample_shape)
        if isinstance(layer, Graph) and layer.takes_parts:  # for which samples of one number stand
            return None if any(value.shape is None for value in layer.inputs) else int(like.ndim) - 1
        if isinstance(layer, Graph):
            return None if layer.input_shape is None else int(like.ndim) - len(layer.input_shape)
        if layer.arrays:  # not their lengths, which are traced where weights are
            return int(like.ndim) - 1
    return None


def _both(first: Forward, second: Forward, x: Array) -> Array:
    return second(first(x))


def _summed(product: Forward, add: Kernel, activation: Forward, x: Array, other: Array) -> Array:
    return activation(add(product(x), other))


def are_new(layers: Iterable[Layer], is_new: bool) -> Iterator[bool]:
    """Whether what comes to each layer may be overwritten: nobody holds it, no derivative is taken from it."""
    for layer in layers:
        yield is_new
        match layer:
            case Graph() | Activation():
                is_new = False
            case Dense(activation=name):
                is_new = name == "identity"
            case Flatten():
                pass
            case _:
                is_new = True


def wide(function: Kernel) -> Kernel:
    """What has 16 bits computed in 32, and rounded once."""

    def widened(x: Array, **parameters: Any) -> Array:
        if is_narrow(x):
            return function(x.astype("float32"), **parameters).astype(x.dtype)
        return function(x, **parameters)

    return widened


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
    add: ClassVar[Kernel] = staticmethod(operator.add)  # of two arrays of one shape, the first of which is new
    lazy: ClassVar[bool] = False  # whether to look at values is to compute them

    def __hash__(self) -> int:
        return hash((type(self), str(self)))  # not every library's devices can be hashed

    def __str__(self) -> str:
        device = self.device_name()
        return f"{self.name or self.xp.__name__}:{device}" if device else self.name or str(self.xp.__name__)

    @property
    def takes_numpy(self) -> bool:
        """Whether forward passes for its arrays take NumPy's as well, at present, and give the same there."""
        return False

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

    def dtype_name(self, dtype: DType) -> FloatName:
        """The name of a floating dtype of this library, an `InputError` if no network computes in it."""
        return float_name(dtype, self.xp)

    def computed_in(self, dtype: str) -> str:
        """The name of the floating dtype in which the library computes what is asked for in another."""
        return dtype

    def place(self, array: np.ndarray[Any, Any], *, share: bool = False) -> Array:
        """A NumPy array in this library, on this device: a copy, unless sharing the memory is allowed."""
        return self.xp.asarray(array, device=self.device, copy=None if share else True)

    @property
    def kernels(self) -> Mapping[str, Kernel]:
        """The library's own elementwise activations, where they pay: the same values, tails and derivatives."""
        return {}

    def activation(self, name: str, dtype: DType, **parameters: Any) -> Forward:
        """An activation of arrays of a dtype, which it may overwrite; its parameters as the function's."""
        function = FUNCTIONS[name]
        if FLOATS[self.dtype_name(dtype)] > 2:
            function = unwrap(function)  # what it is wrapped in asks at each call
        kernel = self.kernels.get(name) or partial(function, xp=self.xp)
        return partial(kernel, **parameters) if parameters else kernel

    def cast_to(self, dtype: DType) -> Forward:
        """A step that casts."""
        return lambda x: self.xp.astype(x, dtype)

    def suited(self, layers: tuple[Layer, ...], dtype: str) -> tuple[Layer, ...]:
        """Layers of NumPy weights, as they are best placed here in a dtype."""
        return layers

    def prepared(self, layers: tuple[Layer, ...], like: Array, dtype: DType) -> tuple[Forward, ...]:
        """Layers whose weights were placed here in a dtype, as what the library runs best on arrays like that.

        The arrays are cast first, and what belongs to the caller is not overwritten.
        """
        is_new = like.dtype != dtype
        cast = (self.cast_to(dtype),) if is_new else ()
        return cast + self.steps(layers, like, dtype, is_new)

    def steps(self, layers: tuple[Layer, ...], like: Array, dtype: DType, is_new: bool) -> tuple[Forward, ...]:
        """The same once the arrays are cast, which nobody else holds if they are new."""
        steps: list[Forward] = []
        for layer, own in zip(layers, are_new(layers, is_new), strict=True):
            if isinstance(layer, Activation) and not own:
                steps.append(partial(layer, xp=self.xp))
            else:
                steps += self.steps_of(layer, like, dtype)
        return tuple(steps)

    def steps_of(self, layer: Layer, like: Array, dtype: DType) -> tuple[Forward, ...]:
        """One layer; an activation may overwrite its argument."""
        match layer:
            case Dense(activation=name) if name in self.kernels:
                return partial(layer.with_activation("identity"), xp=self.xp), self.activation(name, dtype)
            case Activation(name=name, parameters=parameters):
                return (self.activation(name, dtype, **parameters),)
            case Graph():
                inside = partial(self.inside, like, dtype) if like.ndim == 2 else None
                return (layer.bound(self.xp, inside),)
        return (partial(layer, xp=self.xp),)

    def inside(
        self, like: Array, dtype: DType, layer: Dense | Activation, *, is_new: bool = False, is_sum: bool = False
    ) -> Callable[..., Array]:
        """One layer inside a graph, as `portable_nn.layers.Graph.bound` takes it."""
        if isinstance(layer, Dense) and is_sum:
            product = self.inside(like, dtype, layer.with_activation("identity"))
            activation = self.inside(like, dtype, Activation("identity").with_name(layer.activation), is_new=True)
            return partial(_summed, product, self.add, activation)
        first, *others = self.steps((layer,), like, dtype, is_new)
        for step in others:
            first = partial(_both, first, step)
        return first

    def takes(self, other: "Backend") -> bool:
        """Whether a network that is bound to this one takes arrays of the other."""
        if self.xp is not other.xp:
            return False
        return self.device == other.device or None in (self.device, other.device)

    @property
    def of_blocks(self) -> "Backend":
        """The backend that computes: another one where arrays are made of blocks, else itself."""
        return self

    def by_blocks(self, network: Any, result: str, samples: Mapping[str, tuple[int, ...]], like: Any) -> Forward:
        """A result of a network, block by block, where arrays are made of blocks.

        `samples` has the shape of a sample of each array of `like`, which is a dict, or one under any name.
        """
        raise NotImplementedError  # pragma: no cover: of blocks alone

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

    @property
    def at_hand(self) -> Callable[[Array], np.ndarray[Any, Any] | None] | None:
        """What gives an array's values in NumPy, None under a trace; itself None where that may copy or wait."""
        return None

    @staticmethod
    def key(x: Array) -> Hashable:
        """What the forward pass for arrays like `x` depends on, besides their type."""
        return x.dtype, repr(getattr(x, "device", None))

    def parted(self, steps: tuple[Forward, ...], layers: tuple[Layer, ...], like: Array) -> Forward:
        """The steps of these layers one after another, in parts of arrays like that where they run best so."""
        return forward_pass(steps)

    def entered(self, function: Forward) -> Forward:
        """The same function, on this device even where another is the current one."""
        return function

    def compiled(self, forward: Forward) -> Forward:
        """The same forward pass, through the library's compiler if it has one that takes functions."""
        return forward

    def translated(
        self, forward: Forward, layers: tuple[Layer, ...], like: Array, dtype: DType, last: tuple[Forward, ...]
    ) -> Forward:
        """The same, of layers in a dtype and of the steps after them, by a compiler that takes layers."""
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
