"""NumPy: the default. Here is all that makes a forward pass fast on it.

Rows go through the network in blocks that stay in a core's cache, and everything after a product is done in
place. A product of two matrices is `dot`, which starts in half the time that ``@`` takes. Activations are those
of `portable_nn.activations`, in as few calls as may be. float16, for which there is no BLAS, is computed in
float32 and rounded at the end.
"""

from collections.abc import Callable, Hashable
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from math import prod
from operator import methodcaller
from types import SimpleNamespace
from typing import final

import numpy as np

from portable_nn._typing import Array, DType
from portable_nn.activations import FUNCTIONS
from portable_nn.backends._base import Backend, Forward, leading_axes
from portable_nn.backends._numpy_kernels import KERNELS, OVERFLOWING, WITHOUT_OVERFLOW, Kernel, Zeros
from portable_nn.layers import Dense, Graph, Layer

BLOCK = 2**16
"""Values that stay in a core's cache: in the widest layer of a block of rows, and in what is finished at once."""

ROWS, MOST = 200, 2000
"""A block has a multiple of so many rows, and as many as the widest layer has units if those are fewer: a product
packs its weights anew for each block, which is a part of its work that falls with the rows."""

LONG = 2**14
"""Values to which a bias is repeated: NumPy takes several times as long to add short rows."""

NARROW, WIDE, UNITS = 16, 256, 4
"""A hidden layer between `NARROW` and `WIDE` runs best with a multiple of `UNITS`, for one sample: OpenBLAS takes
half as long again for a row by 50 columns as by 52."""

LINE, FEW = 64, 2**22
"""Bytes of a line of the cache, and of the largest weights that are copied to begin with one: the product of one
row with others takes a tenth longer."""


@final
class NumPy(Backend):
    """NumPy on the CPU."""

    name = "numpy"
    namespace = "array_api_compat.numpy"
    package = "numpy"
    install = "numpy"

    def device_name(self) -> str:
        """Nothing: there is one device."""
        return ""

    def dtype_name(self, dtype: DType) -> str:
        """In whatever byte order."""
        return super().dtype_name(np.dtype(dtype).newbyteorder("="))

    @staticmethod
    def key(x: Array) -> Hashable:
        """Dtype, axes, and whether it is one sample: there is one device."""
        return x.dtype, x.ndim, x.shape[:1] == (1,)

    def computed_in(self, dtype: str) -> str:
        """float32 for float16."""
        return "float32" if dtype == "float16" else dtype

    def cast_to(self, dtype: DType) -> Forward:
        """The array's own method, which starts sooner."""
        return methodcaller("astype", dtype)

    def prepared(self, layers: tuple[Layer, ...], like: Array) -> tuple[Forward, ...]:
        """For one sample a step for each Dense; for many its product, and then the rest."""
        steps: list[Forward] = [] if type(like) is np.ndarray else [np.asarray]
        leading = leading_axes(layers, like)
        is_one = _is_one(like, leading)
        for layer in _widened(layers) if is_one else layers:
            if not isinstance(layer, Dense):
                steps += super().prepared((layer,), like)
                continue
            name = layer.activation
            if is_one:
                steps.append(_one_sample(layer, leading))
            else:
                steps += methodcaller("dot", layer.weight), _finished(layer)
            if name not in KERNELS:
                softmax = partial(FUNCTIONS[name], xp=OVER_ALL) if is_one else _by_columns(name)
                steps.append(softmax if "softmax" in name else self.activation(name))
        return tuple(steps)

    def parted(self, forward: Forward, layers: tuple[Layer, ...], like: Array) -> Forward:
        """By blocks of rows; one sample goes as it is."""
        leading = leading_axes(layers, like)
        if leading is None:
            return forward
        names = {layer.activation for layer in layers if isinstance(layer, Dense)}
        names = names.union(*(layer.activations for layer in layers if isinstance(layer, Graph)))
        if _is_one(like, leading):
            return _silent(forward) if names & OVERFLOWING - WITHOUT_OVERFLOW.keys() else forward
        overflows = bool(names & OVERFLOWING)
        widest = max(1, *map(_width, layers))
        rows = max(1, max(BLOCK // widest, min(widest, MOST)) // ROWS) * ROWS

        def parted(x: Array) -> Array:
            with np.errstate(over="ignore") if overflows else nullcontext():
                if leading == 1 and len(x) <= rows:
                    return forward(x)
                samples = x if leading == 1 else np.reshape(x, (-1, *x.shape[leading:]))
                first = forward(samples[:rows])
                found = np.empty((len(samples), *first.shape[1:]), first.dtype)
                found[:rows] = first
                for start in range(rows, len(samples), rows):
                    found[start : start + rows] = forward(samples[start : start + rows])
                return found.reshape(*x.shape[:leading], *first.shape[1:])

        return parted


REDUCING = SimpleNamespace(
    exp=np.exp,
    log=np.log,
    where=np.where,
    zeros_like=np.zeros_like,
    max=lambda x, axis, keepdims: np.maximum.reduce(x, axis, None, None, keepdims),  # type: ignore[call-overload]
    sum=lambda x, axis, keepdims: np.add.reduce(x, axis, None, None, keepdims),  # type: ignore[call-overload]
)
"""What softmax takes of a namespace; the reductions start in half the time of `numpy.max` and `numpy.sum`."""


OVER_ALL = SimpleNamespace(
    **vars(REDUCING)
    | {
        "max": lambda x, axis, keepdims: np.maximum.reduce(x, None),
        "sum": lambda x, axis, keepdims: np.add.reduce(x, None),
    }
)
"""The same for one sample: NumPy starts on a number in half the time that an array of one value takes."""


def _by_columns(name: str) -> Forward:
    """A softmax with each column in one piece: NumPy reduces short rows in twenty times the time."""
    function = partial(FUNCTIONS[name], xp=REDUCING)
    return lambda x: function(np.asfortranarray(x))


def _is_one(x: Array, leading: int | None) -> bool:
    return leading == 0 or (leading == 1 and len(x) == 1)


def _silent(forward: Forward) -> Forward:
    def silent(x: Array) -> Array:
        with np.errstate(over="ignore"):
            return forward(x)

    return silent


def _width(layer: Layer) -> int:
    """Of the widest values that a layer makes of a sample, as far as they count."""
    match layer:
        case Dense():
            return len(layer.bias)
        case Graph():
            return max(map(prod, layer.shapes.values()), default=0)
    return 0


def _widened(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Hidden layers of a multiple of `UNITS` units: some are there twice, and are read by halves."""
    wider = list(layers)
    for i, (layer, after) in enumerate(pairwise(layers)):
        match layer, after:
            case Dense(activation=name, bias=bias), Dense() if (
                name in KERNELS and NARROW < len(bias) < WIDE and len(bias) % UNITS
            ):
                twice = np.r_[: len(bias), : -len(bias) % UNITS]
                halves = np.where(np.bincount(twice)[twice] == 2, 0.5, 1.0).astype(after.weight.dtype)
                weight = after.weight[twice] * halves[:, None]
                wider[i] = Dense(wider[i].arrays["weight"][:, twice], bias[twice], name)
                wider[i + 1] = Dense(weight, after.bias, after.activation)
    return tuple(wider)


def _one_sample(layer: Dense, leading: int | None) -> Forward:
    weight = _aligned(layer.weight)
    bias = layer.bias[None] if leading else layer.bias
    zero = np.zeros_like(bias)
    kernel = _kernel(layer, KERNELS | WITHOUT_OVERFLOW, lambda _: zero)

    def dense(x: Array) -> Array:
        x = x.dot(weight)
        x += bias
        return kernel(x)

    return dense


def _aligned(weight: Array) -> Array:
    if weight.ctypes.data % LINE == 0 or weight.nbytes > FEW:
        return weight
    room = np.empty(weight.nbytes + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    copy = room[start : start + weight.nbytes].view(weight.dtype).reshape(weight.shape)
    copy[...] = weight
    return copy


def _kernel(layer: Dense, kernels: dict[str, Kernel], zeros: Zeros) -> Forward:
    """The activation in place, nothing for one that is a step of its own."""
    make = kernels.get(layer.activation, KERNELS["identity"])
    return make(partial(np.array, dtype=layer.bias.dtype), zeros)


def _finished(layer: Dense) -> Forward:
    """The bias and the activation of a product, in place, by slices that stay in a core's cache."""
    plus, kernel = _plus(layer.bias), _kernel(layer, KERNELS, _zeros_like)
    at_once = BLOCK // len(layer.bias) * len(layer.bias) or len(layer.bias)

    def finished(product: Array) -> Array:
        flat = product.reshape(-1)
        for part in (flat,) if flat.size <= at_once else np.split(flat, range(at_once, flat.size, at_once)):
            plus(part)
            kernel(part)
        return product

    return finished


def _plus(bias: Array) -> Callable[[Array], None]:
    repeated = np.tile(bias, LONG // len(bias) or 1)
    long = len(repeated)

    def plus(flat: Array) -> None:
        whole = flat.size - flat.size % long
        if whole:
            rows = flat[:whole].reshape(-1, long)
            rows += repeated
            flat = flat[whole:]
        flat += repeated[: flat.size]

    return plus


_ZEROS: dict[DType, Array] = {}


def _zeros_like(x: Array) -> Array:
    """Zeros that nobody writes to, so that the system backs all of them by one page."""
    zeros = _ZEROS.get(x.dtype)
    if zeros is None or zeros.size < x.size:
        zeros = _ZEROS[x.dtype] = np.zeros(max(x.size, BLOCK), x.dtype)
    return zeros[: x.size].reshape(x.shape)
