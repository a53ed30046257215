"""Weights where they are needed: beside an input, on a backend a user asked for, all in one place."""

from functools import partial

import numpy as np

from portable_nn import backends
from portable_nn._typing import Array, DType
from portable_nn.activations import namespace
from portable_nn.backends import Backend
from portable_nn.errors import InputError, NetworkError
from portable_nn.layers import Layer

__all__ = ["beside", "common_backend", "common_dtype", "place", "placed"]


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
    """An array as it is where there is no backend, or on it already; one of NumPy placed there, or read-only."""
    if not isinstance(array, np.ndarray):
        return array
    if backend is not None:
        return backend.place(array)
    array.setflags(write=False)
    return array


def common_backend(layers: tuple[Layer, ...]) -> Backend | None:
    """The one backend of all weights that are not NumPy's, None if all are."""
    found = {
        backends.of(array, namespace(array)): None
        for layer in layers
        for array in layer.arrays.values()
        if not isinstance(array, np.ndarray)
    }
    if len(found) > 1:
        raise NetworkError(
            f"weights are on {' and '.join(map(str, found))}: bring them to one library and device first"
        )
    return next(iter(found), None)


def common_dtype(layers: tuple[Layer, ...], backend: Backend) -> str:
    """The name of the widest dtype of the weights, float32 where there are none."""
    dtypes = [array.dtype for layer in layers for array in layer.arrays.values()]
    try:
        return backend.dtype_name(backend.xp.result_type(*dtypes)) if dtypes else "float32"
    except InputError as error:
        raise NetworkError(f"weights: {error}") from error
