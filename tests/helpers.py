"""Oracles that no one here wrote, tolerances, and checks that several tests share."""

import subprocess
import sys
import warnings
from math import prod
from pathlib import Path

import numpy as np
import pytest
import scipy.special
from array_api_compat import array_namespace

import portable_nn as pnn
from portable_nn.activations import ALONG_AXIS, PLAIN
from portable_nn.backends import device_of
from portable_nn.labels import labels_of

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


def ndtr(x):
    """SciPy's own loses the digits of its exponent in the lower tail."""
    squares = np.square(np.asarray(x, dtype=np.longdouble))
    tail = scipy.special.erfcx(np.abs(x) / np.sqrt(2)) / 2 * np.exp(-squares / 2)
    return np.where(x < 0, tail, 1 - tail).astype(np.float64)


def sparsemax(x, axis=-1):
    """By halving the interval of the threshold above which values sum to 1 more than it."""
    high = x.max(axis=axis, keepdims=True)
    high = np.where(np.isfinite(high), high, np.nan)
    low = high - 1
    for _ in range(60):
        middle = (low + high) / 2
        less = np.maximum(x - middle, 0).sum(axis=axis, keepdims=True) < 1
        low, high = np.where(less, low, middle), np.where(less, middle, high)
    return np.maximum(x - low, 0)


ORACLES = {
    "absolute": np.abs,
    "celu": of_torch("celu"),
    "clipped_relu": lambda x: np.maximum(x, 0),
    "cosine": np.cos,
    "elu": of_torch("elu"),
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
    "exp": np.exp,
    "exp10": scipy.special.exp10,
    "expm1": np.expm1,
    "gelu": lambda x: x * ndtr(x),
    "gelu_tanh": lambda x: x * scipy.special.expit(np.sqrt(8 / np.pi) * (x + 0.044715 * x**3)),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "hard_tanh": of_torch("hardtanh"),
    "hardshrink": of_torch("hardshrink"),
    "identity": np.positive,
    "leaky_relu": of_torch("leaky_relu"),
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log_sigmoid": scipy.special.log_expit,
    "log_softmax": lambda x, axis=-1: scipy.special.log_softmax(x, axis),
    "mish": of_torch("mish"),
    "ndtr": ndtr,
    "reciprocal": np.reciprocal,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": of_torch("relu6"),
    "selu": of_torch("selu"),
    "sigmoid": scipy.special.expit,
    "silu": of_torch("silu"),
    "sine": np.sin,
    "softmax": lambda x, axis=-1: scipy.special.softmax(x, axis),
    "softmin": lambda x, axis=-1: scipy.special.softmax(-x, axis),
    "softplus": lambda x: np.logaddexp(0, x),
    "softshrink": of_torch("softshrink"),
    "softsign": of_torch("softsign"),
    "sparse_plus": lambda x: np.where(x >= 1, x, np.clip((x + 1) / 2, 0, 1) ** 2),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
    "sparsemax": sparsemax,
    "sqrt": np.sqrt,
    "square": np.square,
    "squareplus": lambda x: np.where(x > 0, x, 0) + 2 / (np.hypot(x, 2) + np.abs(x)),
    "step": lambda x: np.greater_equal(x, 0).astype(np.float64),
    "tanh": np.tanh,
    "tanhshrink": of_torch("tanhshrink"),
}
"""Each activation that needs no parameters, on NumPy arrays of float64."""

NOT_EVERYWHERE = ("exp", "exp10", "expm1", "log", "log10", "log1p", "reciprocal", "sqrt", "square")
"""Activations that overflow, or are not defined for some numbers, of which NumPy warns."""


def each(names):
    """The names, one after the other; NumPy's warnings of what overflows or is not defined are silent."""
    for name in names:
        with warnings.catch_warnings():
            if name in NOT_EVERYWHERE:
                warnings.simplefilter("ignore", RuntimeWarning)
            yield name


HIDDEN = sorted(set(PLAIN) - {*NOT_EVERYWHERE, "cosine", "sine", "sparsemax", "tanhshrink"})
"""Activations of random networks, whose rounding `rounding_bound` follows."""


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
    if name == "softmin":
        return _activated("softmax", -value, error, unit, tiny)
    if name in ALONG_AXIS:
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


def results_of(backend, calls, x):
    """What activations, by name, make of an array; JAX compiles them as one, which is much quicker than each."""

    def all_of(x):
        return {name: calls[name](x) for name in each(calls)}

    return (backend.compiled(all_of) if backend.name == "jax" else all_of)(x)


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


def download(folder, requirement):
    """A wheel from the registry, skipping where there is none to be had."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, requirement]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"{requirement} cannot be downloaded: {done.stderr.strip().splitlines()[-1]}")
    (wheel,) = folder.glob("*.whl")
    return wheel
