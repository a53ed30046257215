"""NumPy: the default. Here is all that makes a forward pass fast on it.

Rows go through the network in blocks that stay in a core's cache, and everything after a product is done in
place. A product of two matrices is `dot`, which starts in half the time that ``@`` takes. Activations are those
of `portable_nn.activations`, in as few calls as may be. float16, for which there is no BLAS, is computed in
float32 and rounded at the end.
"""

import operator
import os
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import nullcontext
from functools import lru_cache, partial
from itertools import cycle, pairwise
from math import prod
from operator import itemgetter, methodcaller
from types import SimpleNamespace
from typing import Any, TypeAlias, final

import numpy as np

from portable_nn._arrays import each, first_of
from portable_nn._typing import Array, DType, FloatName
from portable_nn.activations import FUNCTIONS
from portable_nn.backends._base import Backend, Forward, are_new, forward_pass, leading_axes
from portable_nn.backends._numpy_kernels import KERNELS, OVERFLOWING, WITHOUT_OVERFLOW
from portable_nn.backends._onnxruntime import through_onnxruntime
from portable_nn.layers import Activation, Dense, Graph, Layer, Normalize

BLOCK = 2**16
"""Values that stay in a core's cache: in the widest layer of a block of rows, and in what is finished at once."""

SMALL_BLOCK = 15_000
"""The same for what takes several temporaries, which the system takes back each time if they are large."""

AT_ONCE = SMALL_BLOCK if "MALLOC_TRIM_THRESHOLD_" in os.environ else BLOCK
"""Values that an activation takes at once: of few, a C library that gives large memory back keeps temporaries."""

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
    add = staticmethod(operator.iadd)

    def device_name(self) -> str:
        """Nothing: there is one device."""
        return ""

    def dtype_name(self, dtype: DType) -> FloatName:
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
        for (layer, kernel), own in zip(_widened(pairs) if is_one else pairs, news, strict=True):
            match layer:
                case Dense() if is_one:
                    steps.append(_one_sample(layer, kernel, leading))
                case Dense():
                    steps += Product(np.dot, b=layer.weight), _finished(kernel, dtype, layer.bias)
                case Activation(name=name) if name in KERNELS:
                    steps.append(partial(np.asarray if own else np.array, order="C"))
                    steps.append(_of_one(layer, dtype, leading) if is_one else _finished(layer, dtype))
                case Activation(name=name) if "softmax" in name:
                    steps.append(partial(FUNCTIONS[name], xp=OVER_ALL) if is_one else _by_columns(name))
                case Normalize():
                    steps.append(_normalized(layer))
                case _:
                    steps += self.steps_of(layer, like, dtype)
        return tuple(steps)

    def parted(self, steps: tuple[Forward, ...], layers: tuple[Layer, ...], like: Array) -> Forward:
        """By blocks of rows; one sample goes as it is."""
        forward = forward_pass(steps)
        leading = leading_axes(layers, like)
        is_one = _is_one(like, leading)
        overflowing = OVERFLOWING - WITHOUT_OVERFLOW.keys() if is_one else OVERFLOWING
        overflows = not overflowing.isdisjoint(name for layer in layers for name in _names(layer))
        if leading is None or is_one:
            return _silent(forward) if overflows else forward
        widest = max(1, *map(_width, layers))
        rows = max(1, max(BLOCK // widest, min(widest, MOST)) // ROWS) * ROWS

        def parted(x: Array) -> Array:
            with np.errstate(over="ignore") if overflows else nullcontext():
                if leading == 1 and len(first_of(x)) <= rows:
                    return forward(x)
                axes = first_of(x).shape[:leading]
                samples = each(lambda array: np.reshape(array, (prod(axes), *array.shape[leading:])), x)
                found = forward(samples) if prod(axes) <= rows else _by_blocks(steps, samples, prod(axes), rows)
                return each(lambda array: array.reshape(*axes, *array.shape[1:]), found)

        return parted

    def translated(
        self, forward: Forward, layers: tuple[Layer, ...], like: Array, dtype: DType, last: tuple[Forward, ...]
    ) -> Forward:
        """By ONNX Runtime, in float32."""
        if dtype != np.float32:
            return forward
        return through_onnxruntime(forward, layers, like, last, self.xp)


def _by_blocks(steps: tuple[Forward, ...], samples: Any, n: int, rows: int) -> Any:
    """Blocks of so many rows one after another, and what is left of the n."""
    forward = forward_pass(tuple(_in_place(steps, first_of(samples)[:rows])))
    first = forward(each(itemgetter(slice(rows)), samples))
    found = each(lambda array: np.empty((n, *array.shape[1:]), array.dtype), first)
    _write(found, slice(rows), first)
    for start in range(rows, n, rows):
        block = slice(start, start + rows)
        if start + rows > n:
            forward = forward_pass(steps)
        _write(found, block, forward(each(itemgetter(block), samples)))
    return found


class Product(partial[Array]):
    """A product with weights."""


class Cast(partial[Array]):
    """A cast."""


def _in_place(steps: tuple[Forward, ...], block: Array) -> Iterator[Forward]:
    """The steps for arrays like a block, each product and cast into the place of the one before.

    A C library that gives memory back at once, as Dask has it do in its workers, takes each page anew otherwise.
    Products take turns in two places: what the one holds, the next one multiplies.
    """
    weights = [step.keywords["b"] for step in steps if isinstance(step, Product)]
    most = max((weight.shape[1] for weight in weights), default=0)
    sides = cycle([np.empty(len(block) * most, weight.dtype) for weight in weights[:2]])
    for step in steps:
        match step:
            case Product(keywords={"b": weight}):
                shape = len(block), weight.shape[1]
                yield partial(np.dot, b=weight, out=next(sides)[: prod(shape)].reshape(shape))
            case Cast(keywords={"dtype": dtype}):
                yield partial(_cast, np.empty(block.shape, dtype))
            case _:
                yield step


def _cast(found: Array, x: Array) -> Array:
    np.copyto(found, x, casting="unsafe")
    return found


def _write(found: Any, block: slice, results: Any) -> None:
    if isinstance(results, dict):
        for name, array in results.items():
            found[name][block] = array
    else:
        found[block] = results


Pair: TypeAlias = tuple[Layer, Activation]
"""A layer and the activation that is computed with it, in place: the identity where it is none of those."""

IDENTITY = Activation("identity")


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


def _names(layer: Layer) -> Iterable[str]:
    """The names of its activations."""
    match layer:
        case Dense(activation=name) | Activation(name=name):
            return (name,)
        case Graph():
            return layer.activations
    return ()


def _width(layer: Layer) -> int:
    """Of the widest values that a layer makes of a sample, as far as they count."""
    match layer:
        case Dense():
            return len(layer.bias)
        case Graph():
            return max(map(prod, layer.shapes.values()), default=0)
    return 0


def _widened(pairs: list[Pair]) -> list[Pair]:
    """Hidden layers of a multiple of `UNITS` units: some are there twice, and are read by halves."""
    wider = list(pairs)
    for i, ((layer, kernel), (after, _)) in enumerate(pairwise(pairs)):
        match layer, after:
            case Dense(bias=bias), Dense() if NARROW < len(bias) < WIDE and len(bias) % UNITS:
                twice = np.r_[: len(bias), : -len(bias) % UNITS]
                halves = np.where(np.bincount(twice)[twice] == 2, 0.5, 1.0).astype(after.weight.dtype)
                weight = after.weight[twice] * halves[:, None]
                wide = Dense(wider[i][0].arrays["weight"][:, twice], bias[twice])
                wider[i] = wide, kernel.map(itemgetter(twice))
                wider[i + 1] = Dense(weight, after.bias), wider[i + 1][1]
    return wider


def _one_sample(layer: Dense, kernel: Activation, leading: int | None) -> Forward:
    weight = _aligned(layer.weight)
    bias = layer.bias[None] if leading else layer.bias
    activation = _of_one(kernel, bias.dtype, leading, np.zeros_like(bias))

    def dense(x: Array) -> Array:
        x = x.dot(weight)
        x += bias
        return activation(x)

    return dense


def _aligned(weight: Array) -> Array:
    if weight.ctypes.data % LINE == 0 or weight.nbytes > FEW:
        return weight
    room = np.empty(weight.nbytes + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    copy = room[start : start + weight.nbytes].view(weight.dtype).reshape(weight.shape)
    copy[...] = weight
    return copy


def _of_one(kernel: Activation, dtype: DType, leading: int | None, zero: Array = None) -> Forward:
    """The activation of one sample."""

    def number(value: Any) -> Array:
        array = np.array(value, dtype)
        return array[None] if leading and array.ndim else array

    zeros = _zeros_like if zero is None else lambda _: zero
    return (KERNELS | WITHOUT_OVERFLOW)[kernel.name](number, zeros, **kernel.parameters)


def _finished(kernel: Activation, dtype: DType, bias: Array = None) -> Forward:
    """The bias and the activation of a product, in place, by slices that stay in a core's cache."""
    (n,) = kernel.input_shape or np.shape(bias) or (1,)
    block = SMALL_BLOCK if kernel.name == "gelu" else AT_ONCE
    at_once = block // n * n or n

    def activation(repeats: int) -> Forward:
        def number(value: Any) -> Array:
            return np.array(np.tile(value, repeats) if np.ndim(value) else value, dtype)

        return KERNELS[kernel.name](number, _zeros_like, **kernel.parameters)

    plus = None if bias is None else _plus(bias)
    activated = _by_rows(n, activation) if kernel.arrays else activation(1)

    def finished(x: Array) -> Array:
        flat = x.reshape(-1)
        for part in (flat,) if flat.size <= at_once else np.split(flat, range(at_once, flat.size, at_once)):
            if plus:
                plus(part)
            activated(part)
        return x

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


_ZEROS: dict[DType, Array] = {}


def _zeros_like(x: Array) -> Array:
    """Zeros that nobody writes to, so that the system backs all of them by one page."""
    zeros = _ZEROS.get(x.dtype)
    if zeros is None or zeros.size < x.size:
        zeros = _ZEROS[x.dtype] = np.zeros(max(x.size, BLOCK), x.dtype)
    return zeros[: x.size].reshape(x.shape)


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
