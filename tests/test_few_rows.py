"""A few samples by wide layers, and softmax of rows of any length, which NumPy computes in ways of their own."""

import numpy as np
import pytest
import scipy.special

import portable_nn as pnn

RNG = np.random.default_rng(0)


def layer(n, m, dtype, activation="identity", bias=True):
    """Of random numbers."""
    weight = RNG.standard_normal((n, m)) / n**0.5
    return pnn.Dense(weight.astype(dtype), RNG.standard_normal(m).astype(dtype) if bias else None, activation)


def plain(layers, x):
    """Relu, softmax and log_softmax in float64."""
    functions = {
        "identity": lambda z: z,
        "relu": lambda z: np.maximum(z, 0),
        "softmax": lambda z: scipy.special.softmax(z, axis=-1),
        "log_softmax": lambda z: scipy.special.log_softmax(z, axis=-1),
    }
    for dense in layers:
        z = x @ dense.weight.astype(np.float64) + dense.bias
        x = functions[dense.activation](z)
    return x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [2, 7, 12, 13])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_few_samples_by_wide_layers(dtype, n, order):
    layers = [layer(900, 1000, dtype, "relu"), layer(1000, 637, dtype, bias=False), layer(637, 3, dtype, "relu")]
    x = np.asarray(RNG.standard_normal((n, 900)), dtype, order=order)
    given = x.copy()
    found = pnn.Network(layers)(x)
    assert found.dtype == dtype
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(x, given)
    np.testing.assert_allclose(found, plain(layers, x), atol=1e-5 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("n", [2, 60, 2000])
@pytest.mark.parametrize("units", [2, 32, 33, 300, 700])
def test_softmax_of_rows_of_any_length(name, n, units):
    layers = [layer(5, units, "float32", name)]
    x = RNG.standard_normal((n, 5)).astype("float32")
    found = pnn.Network(layers)(x)
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, plain(layers, x), rtol=1e-5, atol=1e-6 if name == "log_softmax" else 0)
