"""The activation functions on every backend, beside SciPy, NumPy and PyTorch."""

from functools import partial
from math import prod

import numpy as np
import pytest
from helpers import (
    EPSILON,
    HIDDEN,
    LARGEST,
    NOT_EVERYWHERE,
    ORACLES,
    SMALLEST_NORMAL,
    check_beside,
    each,
    placed,
    results_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import portable_nn as pnn
from portable_nn import activations
from portable_nn.activations import ACTIVATIONS, ALONG_AXIS, PLAIN, is_strictly_increasing

ALONG_AN_AXIS = sorted(ALONG_AXIS - {"glu"})
DIFFERENCES = (
    "cosine",
    "gelu_tanh",
    "hard_sigmoid",
    "hard_swish",
    "log",
    "log10",
    "log_softmax",
    "sine",
    "sparsemax",
)
DIFFERENCES += ("sparse_plus", "sparse_sigmoid", "tanhshrink")
NUMBERS = np.array([-1000, -100, -20, -8, -2.5, -1, -0.01, -0.0, 0, 0.01, 1, 2.5, 8, 20, 100, 1000])
INFINITE = np.array(
    [
        [0, 1, 2],
        [np.inf, 1, -np.inf],
        [-np.inf, 0, 1],
        [-np.inf, -np.inf, -np.inf],
        [np.inf, np.inf, np.inf],
        [np.nan, 0, np.inf],
    ]
)
SHAPES = [(3,), (2, 3), (2, 1, 3), (2, 2, 2, 3), (0, 3), (2, 0, 3)]

few = settings(deadline=None, max_examples=10)


def close(result, wanted, dtype, name=""):
    """Equal to a few roundings: relatively, with 0 for what is subnormal; absolutely where digits cancel."""
    wanted = np.where(np.abs(wanted) > LARGEST[dtype], np.copysign(np.inf, wanted), wanted)
    smallest = EPSILON[dtype] if name in DIFFERENCES else SMALLEST_NORMAL[dtype]
    np.testing.assert_allclose(result, wanted, rtol=8 * EPSILON[dtype], atol=8 * smallest, err_msg=name)


def rounded(backend, x):
    """What the backend made of NumPy's numbers, in float64."""
    return backend.to_numpy(x).astype(np.float64)


def default_float(backend):
    """The dtype that the library itself gives to what has none."""
    return backend.xp.zeros(1, device=None if backend.name == "dask" else backend.device).dtype


def test_the_tables_name_the_public_functions():
    assert list(ACTIVATIONS) == sorted(activations.__all__)
    assert list(PLAIN) == list(ORACLES)


def test_values(backend, dtype):
    x = placed(backend, NUMBERS, dtype)
    for name in each(PLAIN):
        result = ACTIVATIONS[name](x)
        check_beside(result, x, x.dtype, x.shape)
        close(rounded(backend, result), ORACLES[name](rounded(backend, x)), dtype, name)


# inf - inf is invalid to NumPy, which says so; SciPy's values come all the same
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_infinities_and_nan(backend, dtype):
    x = placed(backend, INFINITE, dtype)
    for name in each(PLAIN):
        wanted = ORACLES[name](rounded(backend, x))
        close(rounded(backend, ACTIVATIONS[name](x)), wanted, dtype, name)


def test_the_largest_numbers_neither_warn_nor_give_nan(backend, dtype):
    for name in PLAIN:
        if name in NOT_EVERYWHERE:  # overflows, or is not defined there
            continue
        # twice the largest number is none
        largest = LARGEST[dtype] / (2 if name in ("log_softmax", "selu") else 1)
        x = placed(backend, np.array([-largest, -1000, 0, 1000, largest]), dtype)
        assert not np.isnan(rounded(backend, ACTIVATIONS[name](x))).any(), name


def test_shapes(backend):
    for shape in [(), (0,), *SHAPES]:
        x = placed(backend, np.linspace(-3, 3, num=prod(shape)).reshape(shape), "float32")
        names = [*(ALONG_AN_AXIS if shape in SHAPES else ()), "gelu", "relu", "sigmoid", "softplus", "step"]
        for name, result in results_of(backend, {name: ACTIVATIONS[name] for name in names}, x).items():
            check_beside(result, x, x.dtype, shape)
            if backend.name != "dask" or 0 not in shape:  # Dask's reductions of empty arrays have no values
                close(rounded(backend, result), ORACLES[name](rounded(backend, x)), "float32", name)


@pytest.mark.dtypes("float32", "float64")
def test_along_an_axis(backend, dtype):
    for shape, axis in [((3,), 0), ((2, 3), 0), ((2, 3), 1), ((2, 3, 4), 1), ((2, 3, 4), -3)]:
        x = placed(backend, np.sin(np.arange(prod(shape))).reshape(shape), dtype)
        calls = {name: partial(ACTIVATIONS[name], axis=axis) for name in ALONG_AN_AXIS}
        for name, result in results_of(backend, calls, x).items():
            check_beside(result, x, x.dtype, shape)
            close(rounded(backend, result), ORACLES[name](rounded(backend, x), axis), dtype, name)


@pytest.mark.parametrize(
    ("shape", "axis", "message"),
    [
        ((), -1, r"shape \(\) has no axis -1: give at least one dimension"),
        ((2, 3), 2, r"shape \(2, 3\) has no axis 2: choose one from -2 to 1"),
        ((2, 3), -3, r"shape \(2, 3\) has no axis -3: choose one from -2 to 1"),
        ((2, 0), -1, r"no values along axis -1 of shape \(2, 0\)"),
        ((0, 3), 0, r"no values along axis 0 of shape \(0, 3\)"),
    ],
)
def test_an_axis_that_is_not_there_or_empty(backend, shape, axis, message):
    x = backend.place(np.zeros(shape, dtype=np.float32))
    for name in sorted(ALONG_AXIS):
        with pytest.raises(pnn.ShapeError, match=message) as refused:
            ACTIVATIONS[name](x, axis=axis)
        assert "softmax" not in str(refused.value)


@pytest.mark.dtypes("float16", "float32")
@pytest.mark.parametrize("number", [np.int64, np.uint8, np.array])
def test_an_axis_that_is_an_integer_of_numpy(backend, dtype, number):
    x = placed(backend, np.sin(np.arange(8.0)).reshape(2, 4), dtype)
    for name in sorted(ALONG_AXIS):
        wanted = rounded(backend, ACTIVATIONS[name](x, 1))
        for found in ACTIVATIONS[name](x, number(1)), ACTIVATIONS[name](x, axis=number(1)):
            np.testing.assert_array_equal(rounded(backend, found), wanted)


def test_an_axis_that_is_no_number(backend):
    x = backend.place(np.zeros((2, 3), dtype=np.float32))
    for name in sorted(ALONG_AXIS):
        for axis in [(0, 1), None, 1.0, True, "1", [0], np.array([0])]:
            with pytest.raises(pnn.InputError, match="the number of one axis was expected, got axis="):
                ACTIVATIONS[name](x, axis=axis)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
def test_big_endian_numbers_give_native_ones(dtype):
    x = np.array([[-2, 0, 3]], dtype=dtype)
    for name in each(PLAIN):
        result = ACTIVATIONS[name](x.astype(x.dtype.newbyteorder(">")))
        assert result.dtype.isnative
        np.testing.assert_array_equal(result, ACTIVATIONS[name](x), strict=True)


def test_tanhshrink_keeps_its_digits(backend, dtype):
    """Against the power series, whose next term is x**6 / 15 of the first, and the difference itself later."""
    x = placed(backend, np.r_[0, np.geomspace(1e-5, 0.003, 9), 0.9, 1, 1.1, 5, 1000], dtype)
    found = backend.to_numpy(activations.tanhshrink(x)).astype(np.float64)
    x = backend.to_numpy(x).astype(np.float64)
    series = x**3 / 3 - 2 * x**5 / 15 + 17 * x**7 / 315
    wanted = np.where(x < 0.1, series, x - np.tanh(x))
    np.testing.assert_allclose(found, wanted, rtol=8 * EPSILON[dtype], atol=SMALLEST_NORMAL[dtype])


# NumPy advises against its own matrices
@pytest.mark.filterwarnings("ignore:the matrix subclass is not the recommended way:PendingDeprecationWarning")
def test_a_matrix_of_numpy_is_an_array():
    x = np.matrix([[0.0, 1.0], [2.0, 0.0]])
    for name, function in ACTIVATIONS.items():
        if name in PLAIN and name not in NOT_EVERYWHERE:
            found = function(x)
            assert type(found) is np.ndarray
            np.testing.assert_array_equal(found, function(np.asarray(x)))


def test_integers_become_the_default_float_of_the_device(backend):
    dtype = default_float(backend)
    for integer in ("int8", "bool"):
        x = backend.place(np.array([[100, 1], [0, 3]]).astype(integer))
        results = results_of(backend, {name: ACTIVATIONS[name] for name in PLAIN}, x)
        for name in each(PLAIN):
            check_beside(results[name], x, dtype, (2, 2))
            close(
                rounded(backend, results[name]),
                ORACLES[name](rounded(backend, x)),
                backend.dtype_name(dtype),
                name,
            )


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_float16_is_rounded_once():
    x = np.linspace(0.25, 4, 1921).astype(np.float16)
    x = np.concatenate([x, -x])
    for name in sorted(set(PLAIN) - ALONG_AXIS):
        wanted = ORACLES[name](x.astype(np.float64))
        there = np.isfinite(wanted)
        unit = np.spacing(np.abs(wanted).astype(np.float16)).astype(np.float64)
        error = np.abs(ACTIVATIONS[name](x) - wanted)
        assert np.all(error[there] <= 0.51 * unit[there] + 1e-6), name


def test_complex_numbers_are_refused(backend):
    x = backend.place(np.array([1j], dtype=np.complex64))
    for name in PLAIN:
        with pytest.raises(pnn.InputError, match=r"expected real numbers, got dtype .*complex64: take the real"):
            ACTIVATIONS[name](x)


def test_the_derivatives_at_0_in_pytorch(torch):
    x = torch.zeros(1, requires_grad=True)
    activations.sigmoid(x).backward()
    assert x.grad.item() == 0.25
    x.grad = None
    activations.relu(x).backward()
    assert x.grad.item() == 0.0


def test_the_derivatives_at_0_in_jax(jax):
    assert jax.grad(activations.sigmoid)(0.0 * jax.numpy.ones(())) == 0.25
    assert jax.grad(activations.relu)(0.0 * jax.numpy.ones(())) == 0.0


def test_the_derivative_of_a_step_is_0(torch, jax):
    """Where it is all that a loss depends on, too."""
    x = torch.tensor([-1.0, 0.0, 2.0, np.inf, -np.inf, np.nan], requires_grad=True)
    weight = np.eye(6, dtype=np.float32)
    for function in (
        activations.step,
        pnn.Network([pnn.Activation("step")]),
        pnn.Network([pnn.Dense(weight, None, "step")]),
        pnn.Network([pnn.Dense(torch.tensor(weight), None, "step")]),
    ):
        x.grad = None
        function(x).sum().backward()
        assert x.grad.tolist() == [0] * 6
    assert jax.grad(lambda x: activations.step(x).sum())(jax.numpy.asarray(x.detach())).tolist() == [0] * 6


OF_PYTORCH = {"gelu_tanh": ("gelu", {"approximate": "tanh"}), "hard_sigmoid": ("hardsigmoid", {})}
OF_PYTORCH |= {"hard_swish": ("hardswish", {}), "hard_tanh": ("hardtanh", {}), "log_sigmoid": ("logsigmoid", {})}
OF_PYTORCH |= {name: (name, {"dim": -1}) for name in ("log_softmax", "softmax", "softmin")}
OF_PYTORCH |= {name: (name, {}) for name in ("celu", "elu", "gelu", "hardshrink", "leaky_relu", "mish", "relu")}
OF_PYTORCH |= {name: (name, {}) for name in ("relu6", "selu", "sigmoid", "silu", "softplus", "softshrink")}
OF_PYTORCH |= {name: (name, {}) for name in ("softsign", "tanh", "tanhshrink")}


@pytest.mark.parametrize("name", OF_PYTORCH)
def test_derivatives_are_those_of_pytorch(torch, name):
    x = torch.tensor(NUMBERS[np.abs(NUMBERS) != 1] if name == "hard_tanh" else NUMBERS, requires_grad=True)
    weights = torch.cos(torch.arange(len(x), dtype=x.dtype))
    (derivative,) = torch.autograd.grad(ACTIVATIONS[name](x) @ weights, x)
    function, options = OF_PYTORCH[name]
    (wanted,) = torch.autograd.grad(getattr(torch.nn.functional, function)(x, **options) @ weights, x)
    rtol = 1e-7 if name == "hard_sigmoid" else 1e-8  # whose slope it has in float32
    torch.testing.assert_close(derivative, wanted, rtol=rtol, atol=1e-15)


OF_JAX = {"gelu": ("gelu", {"approximate": False}), "gelu_tanh": ("gelu", {}), "softsign": ("soft_sign", {})}
OF_JAX |= {name: (name, {}) for name in ("celu", "elu", "hard_sigmoid", "hard_swish", "hard_tanh", "leaky_relu")}
OF_JAX |= {
    name: (name, {}) for name in ("log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid")
}
OF_JAX |= {name: (name, {}) for name in ("silu", "softmax", "softplus", "sparse_plus", "sparse_sigmoid")}
OF_JAX |= {"squareplus": ("squareplus", {}), "tanh": ("tanh", {})}


@pytest.mark.parametrize("name", OF_JAX)
def test_derivatives_are_those_of_jax(jax, name):
    kinks = (0, -1, 1)  # at 0 its leaky_relu is not PyTorch's
    x = jax.numpy.asarray(NUMBERS[~np.isin(NUMBERS, kinks)], dtype="float32")
    weights = jax.numpy.cos(jax.numpy.arange(len(x), dtype=x.dtype))
    function, options = OF_JAX[name]
    ours = jax.grad(lambda x: ACTIVATIONS[name](x) @ weights)
    theirs = jax.grad(lambda x: getattr(jax.nn, function)(x, **options) @ weights)
    derivative, wanted = jax.jit(lambda x: (ours(x), theirs(x)))(x)
    np.testing.assert_allclose(derivative, wanted, rtol=1e-5, atol=1e-6)


def test_derivatives_of_tanhshrink_where_its_two_forms_meet(jax, torch):
    """JAX halves the derivative of a clip at its ends."""
    x = np.array([-2, -1, -0.5, 0, 1, 2])
    in_jax = jax.vmap(jax.grad(activations.tanhshrink))(jax.numpy.asarray(x))
    np.testing.assert_allclose(in_jax, np.tanh(x) ** 2, rtol=1e-6)
    tensor = torch.tensor(x, requires_grad=True)
    activations.tanhshrink(tensor).sum().backward()
    np.testing.assert_allclose(tensor.grad, np.tanh(x) ** 2, rtol=1e-14)


@pytest.mark.parametrize("name", sorted(ALONG_AXIS - {"glu"}))
def test_infinities_under_jit(jax, name):
    x = jax.numpy.asarray([[np.inf, 1, 2], [2, np.inf, np.inf], [np.nan, 1, 2], [-np.inf, 1, 2], [-np.inf] * 3])
    np.testing.assert_allclose(jax.jit(ACTIVATIONS[name])(x), ACTIVATIONS[name](x), rtol=1e-6)


@given(data=st.data())
@few
@pytest.mark.dtypes("float32", "float64")
def test_softmax_is_a_distribution_that_no_shift_changes(backend, dtype, data):
    shape = data.draw(st.sampled_from([(5,), (1, 5), (3, 2), (2, 1, 3), (2, 1, 2, 2)]))
    numbers = data.draw(arrays(np.int16, shape, elements=st.integers(-1000, 1000)))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = placed(backend, numbers, dtype)
    result = activations.softmax(x, axis=axis)
    check_beside(result, x, x.dtype, shape)
    values = rounded(backend, result)
    np.testing.assert_allclose(values.sum(axis=axis), 1, rtol=8 * EPSILON[dtype])
    shift = data.draw(st.integers(-1000, 1000))
    np.testing.assert_array_equal(rounded(backend, activations.softmax(x + shift, axis=axis)), values)
    logarithms = rounded(backend, activations.log_softmax(x, axis=axis))
    np.testing.assert_allclose(
        np.exp(logarithms), values, rtol=2000 * EPSILON[dtype], atol=SMALLEST_NORMAL[dtype]
    )


@given(numbers=arrays(np.float32, 12, elements=st.floats(-2000, 2000, width=32)))
@few
@pytest.mark.dtypes("float32", "float64")
def test_order_is_kept(backend, dtype, numbers):
    x = placed(backend, np.sort(numbers), dtype)
    for name in [*filter(lambda name: is_strictly_increasing(name, {}), HIDDEN), "step", "relu"]:
        values = rounded(backend, ACTIVATIONS[name](x))
        roundings = 4 * EPSILON[dtype] * np.abs(values[1:])
        assert np.all(np.diff(values) >= -roundings), name
