"""Many samples on NumPy, whose layers are computed in columns and in places that are used again."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from scipy import special
from threadpoolctl import threadpool_limits

import portable_nn as pnn
from portable_nn import activations
from portable_nn.layers import Activation, Normalize, Rescaling

RNG = np.random.default_rng(8)
ROWS = 7001  # several blocks, the last one short
HIDDEN = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": special.expit,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "tanh": np.tanh,
    "gelu": lambda x: x * special.ndtr(x),
    "softplus": lambda x: np.logaddexp(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "celu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    "mish": lambda x: x * np.tanh(np.logaddexp(x, 0)),
    "silu": lambda x: x * special.expit(x),
    "gelu_tanh": lambda x: x * special.expit(np.sqrt(8 / np.pi) * (x + 0.044715 * x**3)),
}


def dense(inputs, units, activation="identity", dtype="float32"):
    weight = RNG.standard_normal((inputs, units)) / inputs**0.5
    return pnn.Dense(weight.astype(dtype), RNG.standard_normal(units).astype(dtype), activation)


def by_hand(layers, x, function):
    """In float64; the last layer has no activation."""
    for layer in layers:
        x = x @ np.float64(layer.weight) + np.float64(layer.bias)
        x = x if layer is layers[-1] else function(x)
    return x


@pytest.mark.parametrize(
    "widths", [(4, 20, 20, 1), (8, 32, 100), (16, *[64] * 8, 3), (5, 300, 7), (64, 60, 30, 10)], ids=str
)
@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-11)])
def test_as_by_hand(dtype, tolerance, name, widths):
    layers = [dense(n, m, name, dtype) for n, m in pairwise(widths)]
    layers[-1] = layers[-1].with_activation("identity")
    x = RNG.standard_normal((ROWS, widths[0]), dtype)
    expected = by_hand(layers, x, HIDDEN[name])
    np.testing.assert_allclose(pnn.Network(layers)(x), expected, rtol=tolerance, atol=tolerance / 10)


@pytest.mark.parametrize(
    "activation",
    [
        Activation("leaky_relu", negative_slope=-0.5),
        Activation("leaky_relu", negative_slope=2.0),
        Activation("elu", alpha=np.linspace(0.1, 2, 40)),
        Activation("celu", alpha=0.5),
        Activation("softplus", beta=2.0, threshold=3.0),
        Activation("softplus", beta=np.linspace(0.1, 2, 40)),
        Activation("silu", beta=np.linspace(-1, 2, 40)),
    ],
    ids=str,
)
def test_parameters_of_a_hidden_layer(activation):
    first, last = dense(8, 40), dense(40, 5)
    x = RNG.standard_normal((ROWS, 8), np.float32)
    hidden = getattr(activations, activation.name)(by_hand([first], x, None), **activation.parameters)
    found = pnn.Network([first, activation, last])(x)
    np.testing.assert_allclose(found, by_hand([last], hidden, None), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("widths", [(16, 60, 8), (64, 64, 50, 10), (32, 150, 9)], ids=str)
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-4), ("float64", 1e-12)])
def test_by_small_products_where_the_blas_has_one_thread(widths, dtype, rtol):
    layers = [dense(n, m, "tanh", dtype) for n, m in pairwise(widths)]
    layers[-1] = layers[-1].with_activation("identity")
    x = RNG.standard_normal((ROWS, widths[0]), dtype)
    with threadpool_limits(1):
        found = pnn.Network(layers)(x)
    np.testing.assert_allclose(found, by_hand(layers, x, np.tanh), rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    "layers",
    [
        [dense(6, 40, "relu"), dense(40, 9, "softmax")],
        [dense(6, 40, "relu"), dense(40, 9), Activation("log_softmax")],
        [dense(6, 40), Activation("prelu", slope=np.linspace(0.1, 2, 40)), dense(40, 9, "silu")],
        [dense(6, 40, "relu"), dense(40, 9), Activation("prelu", slope=np.linspace(0.1, 2, 9))],
        [
            dense(6, 40, "relu"),
            dense(40, 9),
            Activation("clip", low=-np.arange(9.0), high=1),
            Activation("softmax"),
        ],
        [dense(6, 40, "relu"), dense(40, 200), Activation("elu", alpha=np.linspace(0.1, 2, 200))],
        [
            Rescaling(1 / 255),
            dense(6, 40, "selu"),
            dense(40, 9, "mish"),
            Normalize(),
            dense(9, 50),
            dense(50, 2),
        ],
        [dense(6, 40, "softmax"), dense(40, 50, "tanh"), dense(50, 3)],
        [dense(6, 40, "relu", "float64"), dense(40, 9, "sigmoid", "float64")],
        [dense(6, 40, "relu", "float16"), dense(40, 9, "sigmoid", "float16")],
    ],
    ids=lambda layers: "-".join(str(getattr(layer, "activation", layer)) for layer in layers)[:60],
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_as_of_few_samples(layers, dtype):
    net = pnn.Network(layers)
    x = RNG.integers(0, 4, (ROWS, 6)).astype(dtype)
    found = net(x)
    few = np.concatenate([net(x[i : i + 100]) for i in (0, 3500, ROWS - 100)])
    some = np.r_[:100, 3500:3600, ROWS - 100 : ROWS]
    np.testing.assert_allclose(found[some], few, rtol=1e-2 if found.dtype == np.float16 else 2e-5, atol=1e-5)
    assert found.dtype == few.dtype


@pytest.mark.parametrize("beta", [1, -1, 1.702, 0, 1e-12, 1e12])
def test_the_parameter_of_silu(beta):
    layers = [dense(8, 40), dense(40, 30), dense(30, 5)]
    x = RNG.standard_normal((ROWS, 8), np.float32)
    silu = Activation("silu", beta=beta)
    found = pnn.Network([layers[0], silu, layers[1], silu, layers[2]])(x)
    expected = by_hand(layers, x, lambda x: x * special.expit(beta * x))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_silu_so_steep_that_its_argument_is_infinite():
    layers = [dense(8, 40), Activation("silu", beta=1e12), dense(40, 5)]
    layers[0] = pnn.Dense(layers[0].weight * np.float32(1e14), layers[0].bias)
    layers[2] = pnn.Dense(layers[2].weight * np.float32(1e-28), layers[2].bias)
    x = RNG.standard_normal((ROWS, 8)).astype(np.float32) * np.float32(1e14)
    expected = by_hand([layers[2]], np.maximum(by_hand([layers[0]], x, None), 0), None)
    np.testing.assert_allclose(pnn.Network(layers)(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["sigmoid", "silu", "gelu_tanh"])
def test_the_tail_of_a_hidden_layer(name):
    """As far down as it counts in the outputs, for the next weights make up for it."""
    size = 60.0 if name == "sigmoid" else 9.0
    first = pnn.Dense(np.full((8, 40), 0.125, np.float32), np.full(40, -size, np.float32), name)
    last = pnn.Dense(np.full((40, 3), 1 / HIDDEN[name](-size) / 40, np.float32), np.zeros(3, np.float32))
    x = np.linspace([-1] * 8, [1] * 8, ROWS, dtype=np.float32)
    expected = by_hand([first, last], x, HIDDEN[name])
    np.testing.assert_allclose(pnn.Network([first, last])(x), expected, rtol=2e-4)


@pytest.mark.parametrize(("name", "tolerance"), [("sigmoid", 2e-6), ("silu", 2e-5), ("gelu_tanh", 2e-5)])
def test_a_bias_that_takes_away_what_one_input_has_too_much(name, tolerance):
    weight = RNG.standard_normal((1, 64)).astype(np.float32)
    first = pnn.Dense(weight, -1990 * weight[0], name)
    last = dense(64, 3)
    years = RNG.integers(1950, 2030, (ROWS, 1)).astype(np.float32)
    expected = by_hand([first, last], years, HIDDEN[name])
    np.testing.assert_allclose(pnn.Network([first, last])(years), expected, rtol=0, atol=tolerance)


def test_weights_stay_as_they_are_given():
    layers = [dense(8, 40, "silu"), dense(40, 30, "gelu_tanh"), dense(30, 5)]
    before = [np.copy(layer.weight) for layer in layers]
    pnn.Network(layers)(RNG.standard_normal((ROWS, 8), np.float32))
    for layer, weight in zip(layers, before, strict=True):
        np.testing.assert_array_equal(layer.weight, weight)


@pytest.mark.parametrize("sizes", [(3e38, 1), (1, 3e38)], ids=str)
@pytest.mark.parametrize("name", ["silu", "gelu_tanh"])
def test_weights_as_large_as_there_are(name, sizes):
    before, after = (
        np.full(shape, size, np.float32) for shape, size in zip([(8, 40), (40, 3)], sizes, strict=True)
    )
    layers = [pnn.Dense(before, np.zeros(40, np.float32), name), pnn.Dense(after, np.zeros(3, np.float32))]
    x = np.zeros((ROWS, 8), np.float32)
    x[:, 0] = np.linspace(3e-38, 9e-38, ROWS) * RNG.choice([-1, 1], ROWS)
    np.testing.assert_allclose(pnn.Network(layers)(x), by_hand(layers, x, HIDDEN[name]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("given", [np.asfortranarray, lambda x: np.repeat(x, 2, 0)[::2], lambda x: x[:, ::-1]])
def test_any_memory_order(given):
    layers = [dense(8, 30, "relu"), dense(30, 5)]
    x = given(RNG.standard_normal((ROWS, 8), np.float32))
    expected = by_hand(layers, x, HIDDEN["relu"])
    np.testing.assert_allclose(pnn.Network(layers)(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("last", [dense(30, 5), dense(30, 5, "softmax"), dense(30, 5, "relu")], ids=repr)
def test_results_are_the_callers_own(last):
    net = pnn.Network([dense(8, 30, "relu"), last])
    first, second = (RNG.standard_normal((ROWS, 8), np.float32) for _ in range(2))
    found = net(first)
    kept = found.copy()
    net(second)
    np.testing.assert_array_equal(found, kept)
    found[...] = np.nan
    np.testing.assert_array_equal(net(first), kept)


@pytest.mark.parametrize("rows", [2, 300, 1000, ROWS])
@pytest.mark.parametrize("last", ["relu", "softmax", "log_softmax"])
def test_results_stand_in_rows(last, rows):
    net = pnn.Network([dense(8, 30, "relu"), dense(30, 5, last)])
    assert net(RNG.standard_normal((rows, 8), np.float32)).flags.c_contiguous


def test_one_network_in_many_threads_on_batches_of_several_lengths():
    net = pnn.Network([dense(8, 30, "tanh"), dense(30, 30, "tanh"), dense(30, 5)])
    batches = [RNG.standard_normal((n, 8), np.float32) for n in [ROWS, 2000, 5000, 9000] * 5]
    alone = [net(x) for x in batches]
    with ThreadPoolExecutor(4) as pool:
        for found, expected in zip(pool.map(net, batches), alone, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_an_error_leaves_the_next_call_alone():
    net = pnn.Network([dense(8, 30, "exp"), dense(30, 5)])
    x = RNG.standard_normal((ROWS, 8), np.float32)
    expected = net(x)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        net(x * 1000)
    np.testing.assert_array_equal(net(x), expected)


def test_blocks_too_large_to_keep_places_for():
    layers = [dense(8, 2100, "relu"), dense(2100, 3)]
    x = RNG.standard_normal((4500, 8), np.float32)
    net = pnn.Network(layers)
    expected = by_hand(layers, x, HIDDEN["relu"])
    for _ in range(2):
        np.testing.assert_allclose(net(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [4096, 5000, 8192])
def test_a_slope_for_each_unit_of_one_layer(rows):
    slopes = np.array([0.1, 0.5, 1, 2], np.float32)
    layer = dense(6, 4)
    x = RNG.standard_normal((rows, 6), np.float32)
    before = by_hand([layer], x, None)
    found = pnn.Network([layer, Activation("prelu", slope=slopes)])(x)
    np.testing.assert_allclose(found, np.where(before > 0, before, slopes * before), rtol=1e-4, atol=1e-5)


def test_biases_that_are_infinite():
    bias = np.array([0, -np.inf, np.inf], np.float32)
    net = pnn.Network([dense(8, 30, "relu"), pnn.Dense(np.ones((30, 3), np.float32), bias)])
    x = RNG.standard_normal((ROWS, 8), np.float32)
    x[0, 0] = np.nan
    found = net(x)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1:, 0]).all()
    assert (found[1:, 1] == -np.inf).all()
    assert (found[1:, 2] == np.inf).all()
