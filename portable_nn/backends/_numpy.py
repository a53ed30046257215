"""NumPy: the default. Here is all that makes a forward pass fast on it.

Rows go through the network in blocks that stay in a core's cache, and everything after a product is done in
place. A product of rows in one piece is `dot`, which starts in half the time that ``@`` takes; that of blocks is
`matmul`: `dot` fills the place of the result with zeros first, and keeps other threads out of Python meanwhile.
Activations are those of `portable_nn.activations`, in as few calls as may be. float16, for which there is no
BLAS, is computed in float32 and rounded at the end.
"""

import operator
import os
from collections.abc import Callable, Hashable, Iterable
from contextlib import nullcontext
from functools import lru_cache, partial
from inspect import unwrap
from math import prod
from operator import methodcaller
from types import SimpleNamespace
from typing import Any, final

import numpy as np

from portable_nn._arrays import each, first_of
from portable_nn._typing import Array, DType, FloatName
from portable_nn.activations import FUNCTIONS
from portable_nn.backends._base import Backend, Forward, are_new, forward_pass, keep_pages, leading_axes
from portable_nn.backends._numpy_blocks import FEWEST, KEPT, ROWS, SHARED, Blocks, Cast, sharing
from portable_nn.backends._numpy_columns import Activated, Columns, Finished, Rows
from portable_nn.backends._numpy_kernels import KERNELS, OF_ONE, OVERFLOWING, Maker
from portable_nn.backends._numpy_one import (
    BLOCK,
    IDENTITY,
    Pair,
    of_one,
    one_by_one,
    one_sample,
    one_sum,
    widened,
    zeros_like,
)
from portable_nn.backends._numpy_panels import in_panels, pays
from portable_nn.backends._onnxruntime import through_onnxruntime
from portable_nn.layers import Activation, Dense, Graph, Layer, Normalize

SMALL_BLOCK = 15_000
"""Values that an activation takes at once where a C library gives large temporaries back to the system."""

GIVES_BACK = "MALLOC_TRIM_THRESHOLD_" in os.environ
"""As Dask has it do in its workers."""

SLICE = 3 * 2**16
"""Values that an activation with many temporaries, or of many units, takes at once."""

WIDE = 256
"""Units from which on a block is more than stays in a core's cache beside the temporaries of an activation."""

MOST = 2000
"""A block has as many rows as the widest layer has inputs or units if those are fewer: to pack the weights is a
part of a product that falls with the rows."""

LONG = 2**14
"""Values to which a bias is repeated: NumPy takes several times as long to add short rows."""

SHORT, VERY_LONG = 32, 512
"""Units whose softmax is computed by columns: of more, to turn the rows takes longer than to reduce them."""


@final
class NumPy(Backend):
    """NumPy on the CPU."""

    name = "numpy"
    namespace = "array_api_compat.numpy"
    package = "numpy"
    install = "numpy"
    add = staticmethod(operator.iadd)

    def device_name(self) -> str:
        """Nothing: there is one device."""
        return ""

    def dtype_name(self, dtype: DType) -> FloatName:
        """In whatever byte order."""
        return super().dtype_name(np.dtype(dtype).newbyteorder("="))

    @property
    def at_hand(self) -> Callable[[Array], Array]:
        """The array."""
        return np.asarray

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

    def prepared(self, layers: tuple[Layer, ...], like: Array, dtype: DType) -> tuple[Forward, ...]:
        """With a cast that may be done into the same array for each block."""
        steps = super().prepared(layers, like, dtype)
        return steps if like.dtype == dtype else (Cast(np.ndarray.astype, dtype=dtype), *steps[1:])

    def steps(self, layers: tuple[Layer, ...], like: Array, dtype: DType, is_new: bool) -> tuple[Forward, ...]:
        """For one sample a step for each Dense; for many its product, and then the rest."""
        steps: list[Forward] = [] if type(like) is np.ndarray else [np.asarray]
        leading = leading_axes(layers, like)
        is_one = _is_one(like, leading)
        pairs = _with_kernels(layers)
        news = are_new((layer for layer, _ in pairs), is_new)
        for (layer, kernel), own in zip(widened(pairs) if is_one else pairs, news, strict=True):
            match layer:
                case Dense() if is_one:
                    steps.append(one_sample(layer, kernel, leading))
                case Dense(weight=weight, bias=bias):
                    finished, activation = _finished(kernel, dtype, bias), partial(_activation, kernel, dtype)
                    steps += Finished.of(Rows(weight, bias, kernel, finished, activation))
                case Activation(name=name) if name in KERNELS:
                    steps.append(partial(np.asarray if own else np.array, order="C"))
                    steps.append(of_one(layer, dtype, leading) if is_one else _finished(layer, dtype))
                case Activation(name=name) if "softmax" in name:
                    steps.append(partial(unwrap(FUNCTIONS[name]), xp=OVER_ALL) if is_one else _softmax(name))
                case Normalize():
                    steps.append(_normalized(layer))
                case _:
                    steps += self.steps_of(layer, like, dtype)
        return tuple(steps)

    def inside(
        self, like: Array, dtype: DType, layer: Dense | Activation, *, is_new: bool = False, is_sum: bool = False
    ) -> Callable[..., Array]:
        """For one sample all of a sum in one call."""
        if isinstance(layer, Dense) and is_sum and _is_one(like, 1) and layer.activation in KERNELS:
            return one_sum(layer)
        return super().inside(like, dtype, layer, is_new=is_new, is_sum=is_sum)

    def parted(self, steps: tuple[Forward, ...], layers: tuple[Layer, ...], like: Array) -> Forward:
        """By blocks of rows; one sample goes as it is."""
        leading = leading_axes(layers, like)
        is_one = _is_one(like, leading)
        forward = one_by_one(steps) if is_one else forward_pass(steps)
        overflowing = OVERFLOWING - OF_ONE.keys() if is_one else OVERFLOWING
        overflows = not overflowing.isdisjoint(name for layer in layers for name in _names(layer))
        if leading is None or is_one:
            return np.errstate(over="ignore")(forward) if overflows else forward
        keep_pages()
        taken = prod(first_of(like).shape[leading:])
        widest, made = max(1, *map(_width, layers)), _made(layers, taken)
        held = max(taken, made) if any(isinstance(step, Cast) for step in steps) else made
        rows = max(1, max(min(2 * BLOCK // made, KEPT // held), min(widest, MOST)) // ROWS) * ROWS
        threads_for, by_blocks = sharing(layers), Blocks(steps, held)
        few = min(rows, FEWEST)
        by_panels = in_panels(steps)
        weights = max((layer.weight.size for layer in layers if isinstance(layer, Dense)), default=0)
        as_it_is = nullcontext()

        def parted(x: Array) -> Array:
            with np.errstate(over="ignore") if overflows else as_it_is:
                if leading == 1 and (n := len(first_of(x))) < few:
                    return by_panels(x) if pays(n, weights) else forward(x)
                axes = first_of(x).shape[:leading]
                n = prod(axes)
                threads = threads_for(n)
                samples = each(lambda array: np.reshape(array, (n, *array.shape[leading:])), x)
                most = rows if threads == 1 else max(rows, by_blocks.shared(threads, widest))
                at_once = _evenly(n, threads, most) if n > rows else n
                found = forward(samples) if n <= at_once else by_blocks(samples, n, at_once, threads)
                return each(lambda array: array.reshape(*axes, *array.shape[1:]), found)

        return parted

    def translated(
        self, forward: Forward, layers: tuple[Layer, ...], like: Array, dtype: DType, last: tuple[Forward, ...]
    ) -> Forward:
        """By ONNX Runtime, in float32."""
        if dtype != np.float32:
            return forward
        return through_onnxruntime(forward, layers, like, last, self.xp)


def _evenly(n: int, threads: int, most: int) -> int:
    """The rows of a block, so that all threads have as many."""
    turns = -(-n // (threads * most))
    return -(-n // (threads * turns))


def _with_kernels(layers: tuple[Layer, ...]) -> list[Pair]:
    """Each Dense with its activation, or with the next one, if there is a kernel for that; all else alone."""
    pairs: list[Pair] = []
    for layer in layers:
        match pairs[-1:], layer:
            case _, Dense(activation=name) if name in KERNELS:
                pairs.append((layer, IDENTITY.with_name(name)))
            case _, Dense(activation=name):
                pairs += (layer, IDENTITY), (IDENTITY.with_name(name), IDENTITY)
            case [(Dense() as dense, Activation("identity"))], Activation(name) if name in KERNELS:
                pairs[-1] = dense, layer
            case _:
                pairs.append((layer, IDENTITY))
    return pairs


REDUCING = SimpleNamespace(
    exp=np.exp,
    log=np.log,
    where=np.where,
    zeros_like=np.zeros_like,
    max=lambda x, axis, keepdims: np.maximum.reduce(x, axis, None, None, keepdims),  # type: ignore[call-overload]
    sum=lambda x, axis, keepdims: np.add.reduce(x, axis, None, None, keepdims),  # type: ignore[call-overload]
)
"""What softmax takes of a namespace; the reductions start in half the time of `numpy.max` and `numpy.sum`."""


OF_ROWS = SimpleNamespace(
    **vars(REDUCING) | {"sum": lambda x, axis, keepdims: x.dot(np.ones(x.shape[-1], x.dtype))[..., None]}
)
"""The same for rows, whose sums are a product: NumPy's own take five times as long."""


OVER_ALL = SimpleNamespace(
    **vars(REDUCING)
    | {
        "max": lambda x, axis, keepdims: np.maximum.reduce(x, None),
        "sum": lambda x, axis, keepdims: np.add.reduce(x, None),
    }
)
"""The same for one sample: NumPy starts on a number in half the time that an array of one value takes."""


def _softmax(name: str) -> Forward:
    """By columns in one piece, but of few or long rows: NumPy reduces short ones in twenty times the time."""
    function = unwrap(FUNCTIONS[name])

    def along_rows(x: Array) -> Array:
        n = x.shape[-1]
        if (x.size <= LONG and n > SHORT) or n > VERY_LONG:
            return function(x, xp=OF_ROWS)
        return np.ascontiguousarray(function(np.asfortranarray(x), xp=REDUCING))

    return Columns(along_rows)


def _is_one(x: Array, leading: int | None) -> bool:
    return leading == 0 or (leading == 1 and len(x) == 1)


def _names(layer: Layer) -> Iterable[str]:
    """The names of its activations."""
    match layer:
        case Dense(activation=name) | Activation(name=name):
            return (name,)
        case Graph():
            return layer.activations
    return ()


def _width(layer: Layer) -> int:
    """Of the widest values that a layer takes or makes of a sample, as far as they count."""
    match layer:
        case Dense():
            return max(layer.input_shape[0], len(layer.bias))
        case Graph():
            return max(map(prod, layer.shapes.values()), default=0)
    return 0


def _made(layers: tuple[Layer, ...], taken: int) -> int:
    """Of the widest values that layers make of a sample of so many."""
    most, values = 1, taken
    for layer in layers:
        match layer:
            case Dense(bias=bias):
                values = len(bias)
            case Graph():
                values = _width(layer)
        most = max(most, values)
    return most


def _finished(kernel: Activation, dtype: DType, bias: Array = None, maker: Maker | None = None) -> Forward:
    """The bias and the activation of a product, in place, by slices that stay in a core's cache."""
    (n,) = kernel.input_shape or np.shape(bias) or (1,)
    block = SMALL_BLOCK if GIVES_BACK else SLICE if n > WIDE or kernel.name == "gelu" else SHARED
    most = block // n * n or n
    maker = maker or partial(KERNELS[kernel.name], **kernel.parameters)

    def activation(repeats: int) -> Forward:
        def number(value: Any) -> Array:
            return np.array(np.tile(value, repeats) if np.ndim(value) else value, dtype)

        return maker(number, zeros_like)

    plus = _plus(bias) if np.any(bias) else None
    activated = _by_rows(n, activation) if kernel.arrays else activation(1)

    def of_slice(flat: Array, *spare: Array) -> None:
        if plus:
            plus(flat)
        activated(flat, *spare)

    def finished(x: Array, *spare: Array) -> Array:
        flat = x.reshape(-1)
        if flat.size <= most:
            of_slice(flat, *spare)
            return x
        at_once = _evenly(flat.size // n, 1, most // n) * n
        for start in range(0, flat.size, at_once):
            part = slice(start, start + at_once)
            of_slice(flat[part], *(place[part] for place in spare))
        return x

    return finished


def _activation(kernel: Activation, dtype: DType, in_columns: bool, maker: Maker | None) -> Activated:
    """The activation alone, of samples in columns or in rows; by another maker, if given one, of no arrays."""
    if not (in_columns and kernel.arrays):
        return _finished(kernel, dtype, maker=maker)

    def number(value: Any) -> Array:
        array = np.array(value, dtype)
        return array[:, None] if array.ndim else array

    return KERNELS[kernel.name](number, zeros_like, **kernel.parameters)


def _plus(bias: Array) -> Callable[[Array], None]:
    repeated = np.tile(bias, LONG // len(bias) or 1)
    long = len(repeated)

    def plus(flat: Array) -> None:
        if flat.size > long:
            whole = flat.size - flat.size % long
            rows = flat[:whole].reshape(-1, long)
            rows += repeated
            flat = flat[whole:]
        flat += repeated[: flat.size]

    return plus


def _by_rows(n: int, repeated: Callable[[int], Forward]) -> Callable[[Array], None]:
    """In place, what is made for rows of any number of samples."""
    repeated = lru_cache(4)(repeated)
    most = LONG // n or 1

    def by_rows(flat: Array) -> None:
        whole = flat.size - flat.size % (most * n)
        if whole:
            repeated(most)(flat[:whole].reshape(-1, most * n))
        if whole < flat.size:
            repeated((flat.size - whole) // n)(flat[whole:])

    return by_rows


def _normalized(layer: Normalize) -> Forward:
    """Means by products, which NumPy computes in a fraction of the time that it reduces short rows in."""

    def normalized(x: Array) -> Array:
        n = x.shape[-1]
        if layer.centred:
            x = x - x.dot(np.full(n, 1 / n, x.dtype))[..., None]
        size = np.einsum("...i,...i->...", x, x)[..., None] / n
        size += layer.epsilon
        x = x / np.sqrt(size)
        if layer.scale is not None:
            x *= layer.scale
        if layer.offset is not None:
            x += layer.offset
        return x

    return normalized
