"""Values and derivatives of activations on a grid of hard numbers, as functions and as each library's networks.

A network may compute an activation by a kernel of its library's own, in place and in blocks of rows, so the same
is asked of both. The oracles are closed forms over SciPy's `expit`, whose tails have all their digits.
"""

import os

import numpy as np
import pytest
from helpers import EPSILON, ORACLES, SMALLEST_NORMAL, placed, run_python
from scipy.special import expit

import portable_nn as pnn
from portable_nn.activations import ACTIVATIONS

ELEMENTWISE = sorted(set(ACTIVATIONS) - {"softmax", "log_softmax"})
SMOOTH = sorted(set(ELEMENTWISE) - {"identity", "step"})
NARROW = ("float16", "bfloat16")

SIZES = [2e-38, 1e-30, 6.2e-5, 0.01, 0.1, 0.5, 0.75, 1, 1.5, 2.5, 4, 5.5, 8, 13, 17, 20, 30, 40, 41, 60, 80, 88]
SIZES += [90, 103, 110, 500, 708, 745, 1e4]
FINITE = np.array([*(-x for x in reversed(SIZES)), -0.0, 0.0, *SIZES])
DENORMAL = np.array([5e-324, 1e-310, 1e-45, 1e-40, 6e-8])


def function(name):
    """The function itself."""
    return ACTIVATIONS[name]


def network(name):
    """The same as a network does it in its last layer."""
    net = pnn.Network([pnn.Dense(np.eye(1), None, name)])
    return lambda x: net(x[..., None])[..., 0]


def inside(name):
    """The same as a network does it before another layer."""
    net = pnn.Network([pnn.Dense(np.eye(1), None, name), pnn.Dense(np.eye(1))])
    return lambda x: net(x[..., None])[..., 0]


hows = pytest.mark.parametrize("how", [function, network, inside], ids=lambda how: how.__name__)


def derivatives(name, x):
    """Value, first and second derivative in closed form, each as terms to be summed; the exponent inside."""
    s, t = expit(x), expit(-x)
    one, positive = np.ones_like(x), (x > 0) * 1.0
    match name:
        case "identity":
            return [x], [one], [0 * x], 0 * x
        case "step":
            return [(x >= 0) * 1.0], [0 * x], [0 * x], 0 * x
        case "relu":
            return [x * positive], [positive], [0 * x], 0 * x
        case "leaky_relu":
            slope = np.where(x > 0, 1, 0.01)
            return [x * slope], [slope], [0 * x], 0 * x
        case "sigmoid":
            return [s], [s * t], [s * t * t, -s * s * t], x
        case "tanh":
            slope = 4 * expit(2 * x) * expit(-2 * x)
            return [np.tanh(x)], [slope], [-2 * np.tanh(x) * slope], x
        case "softplus":
            return [np.logaddexp(0, x)], [s], [s * t], x
        case "elu":
            e = np.exp(np.minimum(x, 0))
            return [np.where(x > 0, x, np.expm1(np.minimum(x, 0)))], [e], [np.where(x > 0, 0, e)], x
        case "silu":
            v, v1, v2 = x, one, 0 * x
        case "gelu":
            c = np.sqrt(8 / np.pi)
            v, v1, v2 = c * (x + 0.044715 * x**3), c * (1 + 3 * 0.044715 * x**2), c * 6 * 0.044715 * x
        case _:
            pytest.skip(f"{name} has no closed form here: add its derivatives to this function")
    s, t = expit(v), expit(-v)
    second = [2 * s * t * v1, x * s * t * t * v1**2, -x * s * s * t * v1**2, x * s * t * v2]
    return [x * s], [s, x * s * t * v1], second, v


def check(found, name, x, dtype, order=0):
    """Compare with the closed form: relatively down the lower tails, as far as their exponents can be rounded.

    The derivative of what comes near 1 is a difference of numbers near 1, to every library's own kernels too.
    """
    *terms, exponent = derivatives(name, x)
    wanted, size = sum(terms[order]), sum(np.abs(term) for term in terms[order])
    if dtype in NARROW and order == 0:
        allowed = EPSILON[dtype] * 2.0 ** np.floor(np.log2(np.maximum(np.abs(wanted), SMALLEST_NORMAL[dtype])))
    else:
        near_one = (x > 0) | (name == "tanh")
        size = size * (1 + np.abs(exponent)) + (order > 0) * near_one * np.maximum(1, np.abs(x)) ** order
        allowed = 8 * EPSILON[dtype] * size
    allowed = allowed + 4 * SMALLEST_NORMAL[dtype] * (1 + np.abs(x)) ** (1 + order)  # some flush what is denormal
    wrong = ~(np.abs(found - wanted) <= allowed)
    assert not wrong.any(), (x[wrong], found[wrong], wanted[wrong])


def numbers(backend, x):
    """In NumPy and float64."""
    return backend.to_numpy(x).astype(np.float64)


@hows
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_finite_values(backend, dtype, name, how):
    with np.errstate(under="ignore"):  # of the test's own casts
        x = placed(backend, FINITE, dtype)
    check(numbers(backend, how(name)(x)), name, numbers(backend, x), dtype)


@hows
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_denormal_values(backend, dtype, name, how):
    """As far as a library has them; a step of one that is taken for 0 is 1."""
    for x in (DENORMAL,) if name == "step" else (DENORMAL, -DENORMAL):
        found = how(name)(placed(backend, x, dtype))
        check(numbers(backend, found), name, x, dtype)


# inf - inf is invalid to NumPy, which says so
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@hows
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_infinities_and_nan(backend, dtype, name, how):
    x = np.array([np.inf, -np.inf, np.nan])
    found = numbers(backend, how(name)(placed(backend, x, dtype)))
    np.testing.assert_allclose(found, ORACLES[name](x), rtol=EPSILON[dtype])


EXPONENTIAL = ("sigmoid", "silu", "softplus")
EACH = """
import sys, numpy as np, portable_nn as pnn
x = np.load(sys.argv[1])
np.save(sys.argv[2], [pnn.Network([pnn.Dense(np.eye(1), None, name)])(x) for name in sys.argv[3:]])
"""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_processors_without_wide_vectors(tmp_path, dtype):
    """NumPy has other loops there, and this package takes exp for exp2."""
    given, found = tmp_path / "given.npy", tmp_path / "found.npy"
    x = FINITE.astype(dtype)
    np.save(given, x[:, None])
    environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_SKX"}
    run_python("-c", EACH, given, found, *EXPONENTIAL, env=environment)
    for name, values in zip(EXPONENTIAL, np.load(found), strict=True):
        check(values[:, 0].astype(np.float64), name, x.astype(np.float64), dtype)


ROWS = [(), (1,), (7,), (100,), (401,), (5000,), (3, 700)]


@pytest.mark.parametrize("rows", ROWS, ids=str)
@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.dtypes("float32", "float64")
def test_every_sample_of_every_batch(backend, dtype, name, rows):
    with np.errstate(under="ignore"):
        x = placed(backend, np.resize(FINITE, rows)[..., None], dtype)
    wide = pnn.Dense(np.ones((1, 50)), None, name)
    for layers in ([wide], [wide, pnn.Dense(np.eye(50))], [wide, pnn.Rescaling(np.full(50, 1.0))]):
        found = numbers(backend, pnn.Network(layers)(x))
        check(found, name, np.broadcast_to(numbers(backend, x), found.shape), dtype)


@pytest.mark.parametrize(("rows", "units"), [*((rows, 50) for rows in ROWS), ((7,), 20_000)], ids=str)
@pytest.mark.dtypes("float32", "float64")
def test_biases_of_every_batch(backend, dtype, rows, units):
    x = placed(backend, np.ones((*rows, 1)), dtype)
    bias = np.arange(units) / 8
    found = pnn.Network([pnn.Dense(np.ones((1, units)), bias)])(x)
    np.testing.assert_array_equal(numbers(backend, found), np.broadcast_to(1 + bias, (*rows, units)))


@pytest.mark.parametrize("rows", ROWS, ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_every_row_of_every_batch(backend, dtype, name, rows):
    x = np.resize(np.arange(-8, 9), rows)[..., None]
    columns = np.arange(-25, 25)[None] / 8  # products with x are exact in every dtype
    found = pnn.Network([pnn.Dense(columns, None, name)])(placed(backend, x, dtype))
    rtol = EPSILON[dtype] * (1 if dtype in NARROW else 60)
    np.testing.assert_allclose(
        numbers(backend, found), ORACLES[name](x @ columns), rtol=rtol, atol=SMALLEST_NORMAL[dtype]
    )


NORMAL = FINITE[(np.abs(FINITE) >= 6e-5) | (FINITE == 0)]


def points(name, order):
    """Where a derivative is defined; at 0 relu and leaky_relu have the first one of their left."""
    return NORMAL[NORMAL != 0] if name == "elu" and order == 2 else NORMAL


orders = pytest.mark.parametrize("order", [1, 2])


@hows
@orders
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_in_pytorch(torch, name, dtype, order, how):
    backend = pnn.backends.get("torch")
    x = placed(backend, points(name, order), dtype)
    call = how(name)
    call(x)
    derivative = call
    for _ in range(order):
        derivative = torch.func.grad(derivative)
    check(numbers(backend, torch.func.vmap(derivative)(x)), name, numbers(backend, x), dtype, order)
    if order == 1:
        x.requires_grad_()
        call(x).sum().backward()
        check(numbers(backend, x.grad), name, numbers(backend, x), dtype, order)


@hows
@pytest.mark.parametrize("name", SMOOTH)
def test_gradcheck(torch, name, how):
    x = torch.tensor([-6, -3, -1.2, -0.4, 0.3, 1.1, 2.6, 7], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(how(name), x)
    assert torch.autograd.gradgradcheck(how(name), x)


@hows
@orders
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_in_jax(jax, name, dtype, order, how):
    backend = pnn.backends.get("jax")
    x = placed(backend, points(name, order), dtype)
    call = how(name)
    call(x)
    derivative = call
    for _ in range(order):
        derivative = jax.grad(derivative)
    for transformed in (jax.vmap(derivative), jax.jit(jax.vmap(derivative))):
        check(numbers(backend, transformed(x)), name, numbers(backend, x), dtype, order)
