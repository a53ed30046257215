"""Oracles that no one here wrote, tolerances, and checks that several tests share."""

import subprocess
import sys
from math import prod
from pathlib import Path

import numpy as np
import pytest
import scipy.special
from array_api_compat import array_namespace

import portable_nn as pnn
from portable_nn.backends import device_of
from portable_nn.placing import labels_of

EPSILON = {"float16": 2**-10, "bfloat16": 2**-7, "float32": 2**-23, "float64": 2**-52}
SMALLEST_NORMAL = {"float16": 2**-14, "bfloat16": 2**-126, "float32": 2**-126, "float64": 2**-1022}
LARGEST = {"float16": 65504.0, "bfloat16": 2.0**127, "float32": 2.0**127, "float64": 2.0**1023}

TOLERANCE = {"float16": 1e-2, "bfloat16": 5e-2, "float32": 1e-5, "float64": 1e-12}
"""How far probabilities may be from those of float64."""


def of_torch(name, **options):
    """A function of `torch.nn.functional`, on NumPy arrays."""

    def oracle(x):
        torch = pytest.importorskip("torch", reason=f"the oracle of {name} is PyTorch: pip install torch")
        return getattr(torch.nn.functional, name)(torch.from_numpy(x), **options).numpy()

    return oracle


ORACLES = {
    "identity": np.positive,
    "step": lambda x: np.greater_equal(x, 0).astype(np.float64),
    "sigmoid": scipy.special.expit,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": of_torch("leaky_relu"),
    "elu": of_torch("elu"),
    "gelu": lambda x: x * scipy.special.expit(np.sqrt(8 / np.pi) * (x + 0.044715 * x**3)),
    "silu": of_torch("silu"),
    "softplus": lambda x: np.logaddexp(0, x),
    "softmax": lambda x, axis=-1: scipy.special.softmax(x, axis),
    "log_softmax": lambda x, axis=-1: scipy.special.log_softmax(x, axis),
}
"""Each activation on NumPy arrays of float64."""


def forward(net, x):
    """The outputs of a network of NumPy weights, in float64 on NumPy."""
    x = np.asarray(x, dtype=np.float64)
    for layer in net.layers:
        match layer:
            case pnn.Dense():
                x = ORACLES[layer.activation](x @ layer.weight.astype(np.float64) + layer.bias)
            case pnn.Rescaling():
                x = x * layer.scale + layer.offset
            case pnn.Flatten():
                x = x.reshape(*x.shape[: x.ndim - len(layer.sample_shape)], prod(layer.sample_shape))
    return x


def rounding_bound(layers, x, dtype):
    """How far outputs computed in a dtype may be from the exact ones, inf for samples for which it may overflow.

    As `portable_nn.rewriting` states it: every number is followed by the size of the terms that make it, so that
    nothing cancels, and by its error: a sum of n terms is off by n + 4 units of rounding of that size, and an
    activation passes on an error as far as it varies over it, with 8 units of its argument and of its value.
    What is denormal may be lost.
    """
    unit, tiny = EPSILON[dtype] / 2, 4 * SMALLEST_NORMAL[dtype]
    value = np.asarray(x, dtype=np.float64)
    size, error = np.abs(value), unit * np.abs(value)
    largest = size.max(axis=-1)
    for layer in layers:
        match layer:
            case pnn.Dense(weight=weight, bias=bias, activation=name):
                weight, bias = weight.astype(np.float64), bias.astype(np.float64)
                units = (len(weight) + 4) * unit
                value = value @ weight + bias
                size = size @ np.abs(weight) + np.abs(bias)
                error = error @ np.abs(weight) + units / (1 - units) * size + len(weight) * tiny
                largest = np.maximum(largest, (size + error).max(axis=-1))
                if name != "identity":
                    value, error = _activated(name, value, error, unit, tiny)
                    size = np.abs(value) + error
            case pnn.Rescaling():
                value = value * layer.scale + layer.offset
                size = size * np.abs(layer.scale) + np.abs(layer.offset)
                error = error * np.abs(layer.scale) + 4 * unit * size + tiny
        largest = np.maximum(largest, (size + error).max(axis=-1))
    return np.where(largest[..., None] < LARGEST[dtype] / 4, error, np.inf)


def _activated(name, value, error, unit, tiny):
    """The value of an activation, and its error."""
    exact = ORACLES[name](value)
    error = error + 8 * unit * np.abs(value)
    if name in ("softmax", "log_softmax"):
        units = (value.shape[-1] + 8) * unit
        most = 2 * error.max(axis=-1, keepdims=True)
        if name == "softmax":
            highest = np.exp(np.minimum(0, ORACLES["log_softmax"](value) + most))
            return exact, np.maximum(highest - exact, -exact * np.expm1(-most)) + units * highest + tiny
        return exact, most + units * (1 + np.abs(exact))
    varies = [np.abs(ORACLES[name](value + part * error) - exact) for part in np.linspace(-1, 1, 9)]
    return exact, np.max(varies, axis=0) + 8 * unit * np.abs(exact) + tiny * (1 + np.abs(value))


def placed(backend, array, dtype):
    """NumPy's numbers on a backend, in the dtype of that name, which NumPy may lack."""
    narrow = np.asarray(array).astype(dtype if hasattr(np, dtype) else "float32")
    return backend.entered(lambda x: backend.xp.astype(x, backend.dtype(dtype)))(backend.place(narrow))


def check_place(result, x):
    """Check that a result is of the library and on the device of `x`; a NumPy scalar counts as an array."""
    assert array_namespace(result) is array_namespace(x)
    assert device_of(result) == device_of(x)


def check_beside(result, x, dtype, shape):
    """Check that a result is of the library and on the device of `x`, and of that dtype and shape."""
    check_place(result, x)
    assert result.dtype == dtype
    assert tuple(result.shape) == tuple(shape)


def predicted(net, backend, x):
    """The labels that `net` predicts, in NumPy; on a device without int64, which has no argmax, by NumPy."""
    if str(backend) == "array_api_strict:no_x64":
        return labels_of(backend.to_numpy(net.logits(x)), np)
    return backend.to_numpy(net.predict(x))


def run_python(*arguments, **options):
    """Run Python on its own, in the root of the repository; its output, once it has succeeded."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
