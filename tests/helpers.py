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
    "gelu": of_torch("gelu", approximate="tanh"),
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
