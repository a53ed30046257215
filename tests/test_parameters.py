"""Activations with parameters, numbers or arrays of one value a feature, beside PyTorch, Keras and SciPy."""

from functools import partial

import numpy as np
import pytest
from helpers import (
    EPSILON,
    ORACLES,
    SMALLEST_NORMAL,
    check_beside,
    each,
    of_torch,
    placed,
    results_of,
)
from scipy.special import expit

import portable_nn as pnn
from portable_nn.activations import (
    ACTIVATIONS,
    ALONG_AXIS,
    PLAIN,
    bounds,
    is_strictly_increasing,
    parameters_of,
)

X = np.array([-1e4, -90, -88, -17, -5.5, -2, -1.25, -0.5, -1e-3, -0.0, 0, 1e-3, 0.5, 1, 2, 3.5, 17, 88, 90, 1e4])


def clipped_relu(x, max_value, negative_slope, threshold):
    """As Keras documents its layer ReLU."""
    return np.where(x >= max_value, max_value, np.where(x > threshold, x, negative_slope * (x - threshold)))


def squareplus(x, root):
    """Without cancellation below 0."""
    return np.maximum(x, 0) + root**2 / 2 / (np.hypot(x, root) + np.abs(x))


CASES = {
    "leaky_relu": [({"negative_slope": 0.25}, of_torch("leaky_relu", negative_slope=0.25))],
    "prelu": [({"slope": slope}, of_torch("leaky_relu", negative_slope=slope)) for slope in (1.5, -0.5)],
    "elu": [({"alpha": 0.5}, of_torch("elu", alpha=0.5))],
    "celu": [({"alpha": alpha}, of_torch("celu", alpha=alpha)) for alpha in (0.5, 2.0)],
    "softplus": [
        ({"beta": 2.0, "threshold": 20.0}, of_torch("softplus", beta=2, threshold=20)),
        ({"beta": 0.5, "threshold": np.inf}, lambda x: np.logaddexp(0, x / 2) * 2),
        ({"beta": -1.0, "threshold": np.inf}, lambda x: -np.logaddexp(0, -x)),
    ],
    "hard_tanh": [({"low": -2.0, "high": 0.5}, of_torch("hardtanh", min_val=-2, max_val=0.5))],
    "clip": [({"low": -2.0, "high": 0.5}, lambda x: np.clip(x, -2, 0.5))],
    "threshold": [({"threshold": 0.5, "value": -8.0}, of_torch("threshold", threshold=0.5, value=-8))],
    "softshrink": [({"width": 1.5}, of_torch("softshrink", lambd=1.5))],
    "hardshrink": [({"width": 1.5}, of_torch("hardshrink", lambd=1.5))],
    "silu": [({"beta": 1.75}, lambda x: x * expit(1.75 * x)), ({"beta": -1.0}, lambda x: x * expit(-x))],
    "hard_sigmoid": [({"slope": 0.25, "offset": 0.5}, lambda x: np.clip(x / 4 + 0.5, 0, 1))],
    "squareplus": [({"b": root**2}, partial(squareplus, root=root)) for root in (1.0, 3.0)],
    "clipped_relu": [
        (given, partial(clipped_relu, **given))
        for given in (
            {"max_value": 6.0, "negative_slope": 0.25, "threshold": 1.0},
            {"max_value": 3.0, "negative_slope": 0.0, "threshold": 0.0},
            {"max_value": np.inf, "negative_slope": 0.5, "threshold": 2.0},
        )
    ],
    "learned_swish": [
        ({"alpha": a, "beta": b}, lambda x, a=a, b=b: (b + (1 - b) * expit(a * x)) * x)
        for a, b in ((1.5, 0.25), (-0.5, 2.0))
    ],
}  # fmt: skip
"""The parameters, exact in every dtype, and the function of NumPy arrays of float64 that they make."""

EACH = [(name, *case) for name, cases in CASES.items() for case in cases]


def check(found, x, wanted, dtype):
    """Compare to a few roundings of the argument and of the result."""
    allowed = 8 * EPSILON[dtype] * (np.abs(wanted) * (1 + 2 * np.minimum(np.abs(x), 100)))
    allowed += 4 * SMALLEST_NORMAL[dtype] * (1 + np.abs(x)) + 2 * EPSILON[dtype] * (np.abs(x) < 10)
    wrong = ~(np.abs(found - wanted) <= allowed)
    assert not wrong.any(), (np.broadcast_to(x, wrong.shape)[wrong], found[wrong], wanted[wrong])


def numbers(backend, x):
    """In NumPy and float64."""
    return backend.to_numpy(x).astype(np.float64)


def test_every_activation_with_parameters_is_here():
    assert sorted(CASES) == [name for name in ACTIVATIONS if parameters_of(name)]


def test_numbers(backend, dtype):
    x = placed(backend, X, dtype)
    exact = numbers(backend, x)
    for name, given, oracle in EACH:
        found = ACTIVATIONS[name](x, **given)
        check_beside(found, x, x.dtype, x.shape)
        check(numbers(backend, found), exact, oracle(exact), dtype)


def test_arrays_of_one_value_a_feature(backend, dtype):
    for name, cases in CASES.items():
        several = [given for given, _ in cases]
        several += [{key: value + 0.5 for key, value in given.items()} for given in several]
        given = {key: placed(backend, [case[key] for case in several], dtype) for key in several[0]}
        x = placed(backend, np.broadcast_to(X[:, None], (len(X), len(several))), dtype)
        calls = {"arrays": partial(ACTIVATIONS[name], **given)}
        for column, case in enumerate(several):
            calls[f"{column}"] = lambda x, case=case: ACTIVATIONS[name](x[:, 0], **case)  # noqa: B023
        found = results_of(backend, calls, x)
        check_beside(found["arrays"], x, x.dtype, x.shape)
        exact = numbers(backend, x[:, 0])
        for column in range(len(several)):
            wanted = numbers(backend, found[f"{column}"])
            check(numbers(backend, found["arrays"])[:, column], exact, wanted, dtype)


def test_networks_give_the_same(backend, dtype):
    """By a library's own kernels: after a Dense, after another layer and alone, of one sample and of many."""
    eager = backend.name in ("numpy", "torch", "cupy")
    for name, cases in CASES.items():
        several = [{key: float(value) for key, value in given.items()} for given, _ in cases]
        n = len(several)
        arrays = {key: np.array([case[key] for case in several]) for key in several[0]}
        values = np.broadcast_to(X[:, None], (len(X), n))
        x, half = placed(backend, values, dtype), placed(backend, values / 2, dtype)
        exact = numbers(backend, x)
        for given in [*several, arrays] if eager else [arrays]:
            last = pnn.Activation(name, **given)
            layer = partial(last.map(lambda array: placed(backend, array, dtype)), xp=backend.xp)
            wanted = numbers(backend, results_of(backend, {name: layer}, x)[name])
            nets = [(pnn.Network([pnn.Dense(np.eye(n)), last]), x)]
            if eager:
                nets += (pnn.Network([last]), x), (pnn.Network([pnn.Rescaling(2.0), last]), half)
            for net, inputs in nets:
                before = numbers(backend, inputs)
                found = net(inputs)
                check_beside(found, x, x.dtype, x.shape)
                check(numbers(backend, found), exact, wanted, dtype)
                if eager:
                    check(numbers(backend, net(inputs[5, :])), exact[5], wanted[5], dtype)
                    tall = backend.xp.concat([inputs] * 1001, axis=0)
                    check(
                        numbers(backend, net(tall)), np.tile(exact, (1001, 1)), np.tile(wanted, (1001, 1)), dtype
                    )
                np.testing.assert_array_equal(numbers(backend, inputs), before)


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_integers_and_numbers_of_numpy_are_numbers(dtype):
    x = np.array([-2, 3], dtype=dtype)
    for slope in (2, np.float32(2), np.int8(2), np.array([2.0]), np.array([2, 2])):
        found = pnn.activations.prelu(x, slope=slope)
        np.testing.assert_array_equal(found, np.array([-4, 3], dtype=found.dtype), strict=True)
        assert found.dtype == (dtype if dtype == "float32" else "float64")


def test_parameters_of_another_library_are_refused(torch):
    with pytest.raises(pnn.InputError, match="slope is of type Tensor, x of ndarray: give a number, or an"):
        pnn.activations.prelu(np.ones(2), slope=torch.ones(2))
    with pytest.raises(pnn.InputError, match=r"slope must be a number or an array, got '0\.5': give for"):
        pnn.activations.prelu(np.ones(2), slope="0.5")
    np.testing.assert_allclose(pnn.activations.celu(np.array([-1.0, 1.0]), alpha=-1), [1 - np.e, 1.0])
    with pytest.raises(pnn.InputError, match="divided by alpha, which is 0"):
        pnn.activations.celu(np.ones(2), alpha=0)
    with pytest.raises(pnn.InputError, match="expected real numbers"):
        pnn.activations.prelu(np.ones(2), slope=np.ones(2, dtype=complex))


@pytest.mark.parametrize("shape", [(3,), (2, 4, 4), (1, 2, 4), (2, 4, 1)], ids=str)
def test_parameters_that_do_not_broadcast_against_x_are_refused(backend, shape):
    x, slope = (backend.place(np.ones(of, dtype=np.float32)) for of in ((2, 4), shape))
    with pytest.raises(pnn.ShapeError, match=r"slope has shape \(.*\), x \(2, 4\): give a number, or an array"):
        pnn.activations.prelu(x, slope=slope)


@pytest.mark.parametrize("name", CASES)
def test_derivatives_by_numbers_and_by_parameters(torch, jax, name):
    """PyTorch's against differences; JAX's, in float32, against those."""
    x = np.array([[-6, -3.1, -1.2, -0.4], [0.3, 1.1, 2.6, 7]])
    given, _ = CASES[name][0]
    arrays = [np.full(4, value) for value in given.values() if np.isfinite(value)]

    def call(x, *values):
        return ACTIVATIONS[name](x, **dict(zip(given, values, strict=False)))

    tensors = [torch.tensor(array, requires_grad=True) for array in (x, *arrays)]
    assert torch.autograd.gradcheck(call, tensors)
    assert torch.autograd.gradgradcheck(call, tensors)
    wanted = torch.autograd.grad(call(*tensors).sum(), tensors, allow_unused=True)
    single = [jax.numpy.asarray(array, dtype="float32") for array in (x, *arrays)]
    found = jax.jit(jax.grad(lambda *values: call(*values).sum(), argnums=tuple(range(len(single)))))(*single)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, 0 if other is None else other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("axis", "shape"), [(-1, (2, 6)), (0, (4,)), (1, (2, 4, 3)), (-3, (2, 4, 3))])
def test_glu(backend, dtype, axis, shape):
    x = placed(backend, np.sin(np.arange(np.prod(shape))).reshape(shape) * 9, dtype)
    found = pnn.activations.glu(x, axis=axis)
    wanted = of_torch("glu", dim=axis)(numbers(backend, x))
    check_beside(found, x, x.dtype, wanted.shape)
    np.testing.assert_allclose(numbers(backend, found), wanted, rtol=8 * EPSILON[dtype])


def test_glu_of_an_odd_axis():
    with pytest.raises(pnn.ShapeError, match=r"glu halves an axis, and axis 1 of shape \(2, 3\)"):
        pnn.activations.glu(np.zeros((2, 3)))


def test_beside_keras():
    keras = pytest.importorskip("keras", reason="the oracle: pip install keras")
    of_keras = {
        "celu": lambda x: keras.activations.celu(x, alpha=0.5),
        "clipped_relu": keras.layers.ReLU(max_value=3, negative_slope=0.25, threshold=1.5, dtype="float64"),
        "elu": keras.activations.elu,
        "exp": keras.activations.exponential,
        "gelu": keras.activations.gelu,
        "gelu_tanh": lambda x: keras.activations.gelu(x, approximate=True),
        "glu": keras.activations.glu,
        "hard_sigmoid": keras.activations.hard_sigmoid,
        "hard_swish": keras.activations.hard_silu,
        "hard_tanh": keras.activations.hard_tanh,
        "hardshrink": keras.activations.hard_shrink,
        "leaky_relu": keras.activations.leaky_relu,
        "log_sigmoid": keras.activations.log_sigmoid,
        "log_softmax": keras.activations.log_softmax,
        "mish": keras.activations.mish,
        "relu6": keras.activations.relu6,
        "selu": keras.activations.selu,
        "softplus": keras.activations.softplus,
        "softshrink": keras.activations.soft_shrink,
        "softsign": keras.activations.softsign,
        "sparse_plus": keras.activations.sparse_plus,
        "sparse_sigmoid": keras.activations.sparse_sigmoid,
        "squareplus": keras.activations.squareplus,
        "tanhshrink": keras.activations.tanh_shrink,
        "threshold": lambda x: keras.activations.threshold(x, 0.5, -8),
    }
    x = np.sin(np.arange(400).reshape(40, 10)) * np.linspace(0.1, 20, 10)
    given = {
        "celu": {"alpha": 0.5},
        "clipped_relu": {"max_value": 3, "negative_slope": 0.25, "threshold": 1.5},
        "leaky_relu": {"negative_slope": 0.2},
        "threshold": {"threshold": 0.5, "value": -8},
    }
    for name, function in of_keras.items():
        wanted = np.asarray(function(keras.ops.convert_to_tensor(x, dtype="float64")).tolist())
        found = ACTIVATIONS[name](x, **given.get(name, {}))
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6, err_msg=name)


def test_parameters_are_told_in_order_with_their_defaults():
    assert parameters_of("relu") == {}
    assert parameters_of("elu") == {"alpha": 1.0}
    assert list(parameters_of("learned_swish").items()) == [("alpha", None), ("beta", None)]
    assert list(parameters_of("hard_tanh").items()) == [("low", -1.0), ("high", 1.0)]
    assert parameters_of("softmax") == {}


@pytest.mark.parametrize(("name", "given", "oracle"), EACH)
def test_what_increases_strictly_and_what_is_bounded(name, given, oracle):
    x = np.linspace(-10, 10, 2001)
    values = oracle(x)
    assert is_strictly_increasing(name, given) <= np.all(np.diff(values) > 0)
    interval = bounds(name, given)
    if interval is not None:
        np.testing.assert_allclose((values.min(), values.max()), interval)


def test_what_increases_strictly():
    claimed = [name for name in CASES if is_strictly_increasing(name, CASES[name][0][0])]
    assert claimed == ["leaky_relu", "prelu", "elu", "celu", "squareplus"]
    assert is_strictly_increasing("softplus", {"beta": 2})
    assert not is_strictly_increasing("softplus", {"threshold": 20})
    assert not is_strictly_increasing("elu", {"alpha": -1})


@pytest.mark.parametrize("value", [-0.5, 0.0, 0.25, 1.0, 2.0])
def test_what_increases_strictly_by_its_parameter(value):
    x = np.linspace(-5, 5, 101)
    oracles = {
        "leaky_relu": {"negative_slope": np.where(x < 0, value * x, x)},
        "prelu": {"slope": np.where(x < 0, value * x, x)},
        "elu": {"alpha": np.where(x < 0, value * np.expm1(x), x)},
        "squareplus": {"b": (x + np.sqrt(x**2 + value)) / 2 if value >= 0 else -x},
    }
    if value > 0:
        oracles["celu"] = {"alpha": np.where(x < 0, value * np.expm1(x / value), x)}
        oracles["softplus"] = {"beta": np.logaddexp(0, value * x) / value}
    for name, oracle in oracles.items():
        ((parameter, values),) = oracle.items()
        assert is_strictly_increasing(name, {parameter: value}) == np.all(np.diff(values) > 0), name


def test_an_exponential_that_overflows_keeps_no_order():
    assert np.array_equal(of_torch("celu", alpha=-1e-3)(np.array([-2.0, -1.0])), [-np.inf, -np.inf])
    assert not is_strictly_increasing("celu", {"alpha": -1e-3})


def test_what_has_no_root_is_nan(backend):
    x = backend.place(np.asarray([-2.0, 0.0, 2.0], dtype=np.float32))
    assert np.isnan(backend.to_numpy(ACTIVATIONS["squareplus"](x, b=-1))).all()


def test_what_leaves_no_interval():
    """Those whose oracle does not, be numbers as large as they like, and its ends."""
    x = np.append(np.linspace(-12, 12, 2001), [-1e6, -1e-9, 1e-9, 1e6])
    for name in each(PLAIN):
        with np.errstate(all="ignore"):
            rows = np.stack([x, np.zeros_like(x)], axis=-1) if name in ALONG_AXIS else x
            values = ORACLES[name](rows)
        if np.all(np.abs(values) <= 9):
            np.testing.assert_allclose(bounds(name, {}), (values.min(), values.max()), atol=1e-5, err_msg=name)
        else:
            assert bounds(name, {}) is None, name


def test_what_differs_from_feature_to_feature_keeps_no_order():
    slopes = {"slope": np.array([0.1, 0.9])}
    assert is_strictly_increasing("prelu", {"slope": 0.1})
    assert not is_strictly_increasing("prelu", slopes)
    assert np.diff(pnn.activations.prelu(np.array([-1, -0.5]), **slopes)) < 0
    assert bounds("clip", {"low": np.array([0, 1]), "high": 2}) is None
    assert bounds("clip", {"low": 0, "high": np.inf}) is None
