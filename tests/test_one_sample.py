"""One sample on NumPy, whose layers are computed in places used again: the plain loop, and nothing shared."""

import sys
from itertools import pairwise

import numpy as np
import pytest
from helpers import ndtr

import portable_nn as pnn
from portable_nn.placing import plain

RNG = np.random.default_rng(11)
WIDTHS = (5, 17, 30, 64, 3)
NAMES = ["relu", "leaky_relu", "elu", "selu", "sigmoid", "silu", "tanh", "gelu", "mish", "softplus", "hard_swish"]
LOOSE = {"float16": 4e-3, "float32": 2e-5, "float64": 1e-12}


def network(name, dtype="float32", last="identity", scale=1.0):
    def numbers(*shape):
        return (RNG.standard_normal(shape) * scale / shape[0] ** 0.5).astype(dtype)

    layers = [pnn.Dense(numbers(n, m), numbers(m), name) for n, m in pairwise(WIDTHS)]
    return pnn.Network([*layers[:-1], layers[-1].with_activation(last)])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", LOOSE)
@pytest.mark.parametrize("shape", [(5,), (1, 5)], ids=str)
def test_the_plain_loop(name, dtype, shape):
    net = network(name, dtype)
    for _ in range(3):
        x = RNG.standard_normal(shape).astype(dtype)
        found = net(x)
        assert (found.dtype, found.shape) == (x.dtype, (*shape[:-1], 3))
        np.testing.assert_allclose(
            found, plain(net.layers, x.astype("float64")), rtol=LOOSE[dtype], atol=LOOSE[dtype]
        )


@pytest.mark.parametrize("dtype", LOOSE)
def test_gelu_where_scipy_is_not_installed(dtype, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    test_the_plain_loop("gelu", dtype, (5,))


@pytest.mark.parametrize("name", ["relu", "sigmoid", "silu", "elu"])
def test_values_of_any_size(name):
    net = network(name, scale=1e6)
    for x in RNG.standard_normal((20, 5), "float32") * np.float32(1e3):
        wanted = plain(net.layers, x.astype("float64"))
        np.testing.assert_allclose(net(x), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("name", ["softplus", "mish", "log_sigmoid"])
@pytest.mark.parametrize("rows", [1, 100])
def test_the_largest_numbers_overflow_nowhere(name, rows):
    net = pnn.Network([pnn.Dense(np.eye(1, dtype=np.float32), activation=name)])
    x = np.full((rows, 1), 3e38, np.float32)
    np.testing.assert_array_equal(net(x), 0 if name == "log_sigmoid" else x)


def test_an_infinite_value_is_no_nan_in_the_bias_of_the_next_layer():
    one = np.ones((1, 1), np.float32)
    net = pnn.Network([pnn.Dense(one, one[0], "exp"), pnn.Dense(one, one[0], "relu"), pnn.Dense(one, one[0])])
    with np.errstate(over="ignore"):
        assert net(np.full((1, 1), 1e3, np.float32)) == np.inf
    assert net(np.zeros((1, 1), np.float32)) == pytest.approx(np.e + 2)


def test_results_are_the_callers_own():
    net = network("tanh")
    x = RNG.standard_normal((20, 1, 5), "float32")
    found = [net(one) for one in x]
    kept = [one.copy() for one in found]
    for one in x:
        net(one)[...] = 7
    np.testing.assert_array_equal(found, kept)
    np.testing.assert_array_equal([net(one) for one in x], kept)


def test_after_an_error_the_next_call_is_right():
    net = network("exp")
    small, large = np.zeros((1, 5), np.float32), np.full((1, 5), 1e4, np.float32)
    wanted = net(small)
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        net(large)
    np.testing.assert_array_equal(net(small), wanted)


def test_a_call_within_a_call():
    net = network("exp")
    small, large = np.zeros((1, 5), np.float32), np.full((1, 5), 1e4, np.float32)
    with np.errstate(all="ignore"):
        wanted = net(small), net(large)
    within = []
    with np.errstate(all="ignore", over="call", call=lambda *_: within.append(net(small))):
        found = net(large)
    assert within
    np.testing.assert_array_equal(found, wanted[1])
    for one in within:
        np.testing.assert_array_equal(one, wanted[0])


@pytest.mark.parametrize("name", ["gelu", "softplus"])
@pytest.mark.parametrize("n", [40, 128, 129, 400])
def test_few_values_and_more_in_both_tails(name, n):
    values = np.linspace(-13, 13, n).astype(np.float32)
    net = pnn.Network([pnn.Dense(np.zeros((1, n), np.float32), values, name)])
    found = net(np.zeros((1, 1), np.float32))
    wide = values.astype(np.float64)
    wanted = wide * ndtr(wide) if name == "gelu" else np.log1p(np.exp(wide))
    np.testing.assert_allclose(found[0], wanted, rtol=4e-7)
