"""Weights where they are needed, and the forward pass with them there."""

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import numpy as np

from portable_nn import backends
from portable_nn._typing import Array, DType, Namespace
from portable_nn.activations import namespace
from portable_nn.backends import Backend
from portable_nn.errors import InputError, NetworkError
from portable_nn.layers import Layer

__all__ = [
    "Forward",
    "Result",
    "beside",
    "common_backend",
    "common_dtype",
    "fetched",
    "forward_in",
    "forward_pass",
    "labels_of",
    "place",
    "placed",
]

Result: TypeAlias = Literal["outputs", "logits", "labels"]
Forward: TypeAlias = Callable[[Array], Array]


def labels_of(logits: Array, xp: Namespace) -> Array:
    """The labels that logits mean, in the library of `xp`: the largest one's index, or one logit's sign."""
    if logits.shape[-1] == 1:
        index = xp.__array_namespace_info__().default_dtypes()["indexing"]
        return xp.astype(logits[..., 0] >= 0, index)
    return xp.argmax(logits, axis=-1)


def forward_pass(layers: tuple[Layer, ...], xp: Namespace, cast_to: DType | None, result: Result) -> Forward:
    """The forward pass: the one loop over the layers, of the dtype that the input is cast to."""

    def forward(x: Array) -> Array:
        if cast_to is not None:
            x = xp.astype(x, cast_to)
        for layer in layers:
            x = layer(x, xp)
        return labels_of(x, xp) if result == "labels" else x

    return forward


def forward_in(
    layers: tuple[Layer, ...], xp: Namespace, dtype: DType, cast_to: DType | None, result: Result
) -> Forward:
    """The forward pass with weights that are cast at each call where they must: they may be trained meanwhile."""
    if all(array.dtype == dtype for layer in layers for array in layer.arrays.values()):
        return forward_pass(layers, xp, cast_to, result)

    def forward(x: Array) -> Array:
        cast = tuple(layer.map(lambda array: xp.astype(array, dtype)) for layer in layers)
        return forward_pass(cast, xp, cast_to, result)(x)

    return forward


def placed(layer: Layer, backend: Backend, dtype: DType) -> Layer:
    """A layer of NumPy weights on a backend."""
    return backend.prepared(layer.map(partial(place, backend, dtype)))


def place(backend: Backend, dtype: DType, array: Array) -> Array:
    """A NumPy array in another dtype on a backend, cast before it travels where NumPy has the dtype."""
    name = backend.dtype_name(dtype)
    if hasattr(np, name):
        return backend.place(array.astype(name))
    return backend.xp.astype(backend.place(array.astype(np.float32)), dtype)


def beside(backend: Backend | None, array: Array) -> Array:
    """An array of another library as it is; one of NumPy read-only, or placed where the backend is another."""
    if not isinstance(array, np.ndarray):
        return array
    if backend is not None and backend.name != "numpy":
        return backend.place(array)
    array.setflags(write=False)
    return array


def fetched(layers: tuple[Layer, ...], backend: Backend) -> tuple[Layer, ...]:
    """The layers with copies of their weights in NumPy."""
    return tuple(layer.map(lambda array: np.array(backend.to_numpy(array))) for layer in layers)


def common_backend(layers: tuple[Layer, ...]) -> Backend | None:
    """The one backend of all weights that are not NumPy's, None if all are."""
    found = {
        backends.of(array, namespace(array)): None
        for layer in layers
        for array in layer.arrays.values()
        if not isinstance(array, np.ndarray)
    }
    placed = [backend for backend in found if backend.device is not None]  # the others are traced: anywhere
    if len(placed) > 1 or len({backend.name or backend.xp for backend in found}) > 1:
        raise NetworkError(
            f"weights are on {' and '.join(map(str, found))}: bring them to one library and device first"
        )
    return next(iter(placed or found), None)


def common_dtype(layers: tuple[Layer, ...], backend: Backend) -> str:
    """The name of the widest dtype of the weights, float32 where there are none."""
    dtypes = [array.dtype for layer in layers for array in layer.arrays.values()]
    try:
        return backend.dtype_name(backend.xp.result_type(*dtypes)) if dtypes else "float32"
    except InputError as error:
        raise NetworkError(f"weights: {error}") from error
