"""Values and derivatives of activations on a grid of hard numbers, as functions and as each library's networks.

A network may compute an activation by a kernel of its library's own, in place and in blocks of rows, so the same
is asked of both. The oracles are closed forms over SciPy's `expit`, whose tails have all their digits.
"""

import os
from functools import partial

import numpy as np
import pytest
from helpers import (
    EPSILON,
    LARGEST,
    NOT_EVERYWHERE,
    ORACLES,
    SMALLEST_NORMAL,
    each,
    ndtr,
    placed,
    results_of,
    run_python,
)
from scipy.special import erf, expit

import portable_nn as pnn
from portable_nn.activations import ACTIVATIONS, PLAIN

ELEMENTWISE = ["celu", "elu", "erf", "exp", "exp10", "gelu", "gelu_tanh", "hard_sigmoid", "hard_swish"]
ELEMENTWISE += ["hard_tanh", "identity", "leaky_relu", "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid"]
ELEMENTWISE += ["silu", "softplus", "softsign", "step", "tanh"]
SMOOTH = sorted(set(ELEMENTWISE) - {"erf", "hard_tanh", "identity", "step"})  # test_normal.py has erf
NARROW = ("float16", "bfloat16")

IN_JAX = ["elu", "erf", "gelu", "gelu_tanh", "leaky_relu", "log_sigmoid", "relu", "selu", "sigmoid", "silu"]
IN_JAX += ["softplus"]
"""Those with kernels of JAX's, and some without; `test_activations.py` has the others."""

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
        case "elu" | "celu":
            e = np.exp(np.minimum(x, 0))
            return [np.where(x > 0, x, np.expm1(np.minimum(x, 0)))], [e], [np.where(x > 0, 0, e)], x
        case "selu":
            scale, alpha = 1.0507009873554805, 1.6732632423543772
            e, below = scale * alpha * np.exp(np.minimum(x, 0)), scale * alpha * np.expm1(np.minimum(x, 0))
            return [np.where(x > 0, scale * x, below)], [np.where(x > 0, scale, e)], [np.where(x > 0, 0, e)], x
        case "log_sigmoid":
            return [-np.logaddexp(0, -x)], [t], [-s * t], x
        case "softsign":
            size = 1 + np.abs(x)
            return [x / size], [1 / size**2], [-2 * np.sign(x) / size**3], 0 * x
        case "mish":
            e = np.exp(np.minimum(x, 40))
            gate, slope = e * (e + 2) / (e * (e + 2) + 2), 4 * (1 + e) ** 2 / (e * (e + 2) + 2) ** 2
            return (
                [x * gate],
                [gate, x * slope * s],
                [2 * slope * s, -2 * x * gate * slope * s * s, x * slope * s * t],
                x,
            )
        case "exp" | "exp10":
            factor = 1 if name == "exp" else np.log(10)
            with np.errstate(over="ignore"):
                e = np.exp(x) if name == "exp" else 10.0**x
            return [e], [factor * e], [factor**2 * e], factor * x
        case "hard_sigmoid":
            inside = (np.abs(x) < 3) * 1.0
            return [x / 6 * inside, 0.5 * inside, (x >= 3) * 1.0], [inside / 6], [0 * x], 0 * x
        case "hard_swish":
            inside, above = (np.abs(x) < 3) * 1.0, x >= 3
            return (
                [x * x / 6 * inside, x / 2 * inside, x * above],
                [x / 3 * inside, inside / 2, above],
                [inside / 3],
                0 * x,
            )
        case "hard_tanh":
            return [np.clip(x, -1, 1)], [], [], 0 * x
        case "relu6":
            return [np.clip(x, 0, 6)], [(x > 0) & (x < 6)], [0 * x], 0 * x
        case "erf":
            density = 2 / np.sqrt(np.pi) * np.exp(-x * x)
            return [erf(x)], [density], [-2 * x * density], x * x
        case "gelu":
            density = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
            return [x * ndtr(x)], [ndtr(x), x * density], [2 * density, -x * x * density], x * x / 2
        case "silu":
            v, v1, v2 = x, one, 0 * x
        case "gelu_tanh":
            c = np.sqrt(8 / np.pi)
            v, v1, v2 = c * (x + 0.044715 * x**3), c * (1 + 3 * 0.044715 * x**2), c * 6 * 0.044715 * x
    s, t = expit(v), expit(-v)
    second = [2 * s * t * v1, x * s * t * t * v1**2, -x * s * s * t * v1**2, x * s * t * v2]
    return [x * s], [s, x * s * t * v1], second, v


@np.errstate(over="ignore", invalid="ignore")
def check(found, name, x, dtype, order=0):
    """Compare with the closed form: relatively down the lower tails, as far as their exponents can be rounded.

    The derivative of what comes near 1 is a difference of numbers near 1, to every library's own kernels too.
    """
    *terms, exponent = derivatives(name, x)
    wanted, size = sum(terms[order]), sum(np.abs(term) for term in terms[order])
    finite = size < LARGEST[dtype]  # else it is infinite, or nearly so
    if dtype in NARROW and order == 0:
        allowed = EPSILON[dtype] * 2.0 ** np.floor(np.log2(np.maximum(np.abs(wanted), SMALLEST_NORMAL[dtype])))
    else:
        near_one = (x < 0 if name == "log_sigmoid" else x > 0) | (name in ("erf", "softsign", "tanh"))
        size = size * (1 + np.abs(exponent)) + (order > 0) * near_one * np.maximum(1, np.abs(x)) ** order
        roundings = 128 if name in ("erf", "gelu") and order == 2 else 8  # polynomials that are derived twice
        allowed = roundings * EPSILON[dtype] * size
    allowed = allowed + 4 * SMALLEST_NORMAL[dtype] * (1 + np.abs(x)) ** (1 + order)  # some flush what is denormal
    wrong = ~np.where(finite, np.abs(found - wanted) <= allowed, np.abs(found) >= LARGEST[dtype])
    if wrong.any():
        x, wanted = (np.broadcast_to(array, found.shape)[wrong] for array in (x, wanted))
        raise AssertionError(f"{name} of {x[:9]} is {wanted[:9]}, got {found[wrong][:9]}")


def numbers(backend, x):
    """In NumPy and float64."""
    return backend.to_numpy(x).astype(np.float64)


def test_every_kernel_is_tested(backend):
    """One more needs its derivatives in this file."""
    assert set(backend.kernels) & set(PLAIN) <= set(ELEMENTWISE)


# inf - inf is invalid to NumPy, which says so
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@hows
def test_values(backend, dtype, how):
    """Finite ones, denormal ones as far as a library has them, infinities and nan."""
    infinite = np.array([np.inf, -np.inf, np.nan])
    with np.errstate(under="ignore"):  # of the test's own casts
        x = placed(backend, np.concatenate([FINITE, DENORMAL, -DENORMAL, infinite]), dtype)
    n, m = len(FINITE), len(DENORMAL)
    if how is function:
        results = results_of(backend, {name: ACTIVATIONS[name] for name in ELEMENTWISE}, x)
    else:  # JAX compiles each network
        names = IN_JAX if backend.name == "jax" else ELEMENTWISE
        results = {name: how(name)(x) for name in each(names)}
    for name in each(results):
        found = numbers(backend, results[name])
        check(found[:n], name, numbers(backend, x)[:n], dtype)
        check(found[n : n + m], name, DENORMAL, dtype)
        if name != "step":  # of one that is taken for 0 it is 1
            check(found[n + m : n + 2 * m], name, -DENORMAL, dtype)
        np.testing.assert_allclose(found[-3:], ORACLES[name](infinite), rtol=EPSILON[dtype], err_msg=name)


EXPONENTIAL = ("sigmoid", "silu", "gelu", "gelu_tanh", "log_sigmoid", "mish", "softplus")
EACH = """
import sys, numpy as np, portable_nn as pnn
x = pnn.backends.get(sys.argv[3]).place(np.load(sys.argv[1]))
np.save(sys.argv[2], [pnn.Network([pnn.Dense(np.eye(1), None, name)])(x) for name in sys.argv[4:]])
"""


def check_in_a_process(folder, library, names, dtype, **environment):
    """The values of networks of these activations, where the environment is set before the library is there."""
    given, found = folder / "given.npy", folder / "found.npy"
    x = FINITE.astype(dtype)
    np.save(given, x[:, None])
    run_python("-c", EACH, given, found, library, *names, env=os.environ | environment)
    for name, values in zip(names, np.load(found), strict=True):
        check(values[:, 0].astype(np.float64), name, x.astype(np.float64), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_processors_without_wide_vectors(tmp_path, dtype):
    """NumPy has other loops there, and this package takes exp for exp2."""
    check_in_a_process(tmp_path, "numpy", EXPONENTIAL, dtype, NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_SKX")


def test_float64_in_jax(jax, tmp_path):
    check_in_a_process(tmp_path, "jax", IN_JAX, "float64", JAX_ENABLE_X64="1")


ROWS = [(), (1,), (7,), (100,), (401,), (5000,), (3, 700)]


@pytest.mark.dtypes("float32", "float64")
def test_every_sample_of_every_batch(backend, dtype):
    """NumPy goes by slices; elsewhere each activation meets some sizes, and each size some activations."""
    with np.errstate(under="ignore"):
        inputs = [placed(backend, np.resize(FINITE, rows)[..., None], dtype) for rows in ROWS]
    by_slices = backend.name == "numpy"
    after = [[], [pnn.Dense(np.eye(50))], [pnn.Rescaling(np.full(50, 1.0))]]
    for i, name in enumerate(each(IN_JAX if backend.name == "jax" else ELEMENTWISE)):
        wide = pnn.Dense(np.ones((1, 50)), None, name)
        for j, layers in enumerate(after[:1] if name in NOT_EVERYWHERE else after):
            net = pnn.Network([wide, *layers])
            for x in inputs if by_slices else [inputs[(i + 2 * j) % len(ROWS)]]:
                check(numbers(backend, net(x)), name, numbers(backend, x), dtype)


@pytest.mark.dtypes("float32", "float64")
def test_biases_of_every_batch(backend, dtype):
    for rows, units in [*((rows, 50) for rows in ROWS), ((7,), 20_000)]:
        x = placed(backend, np.ones((*rows, 1)), dtype)
        bias = np.arange(units) / 8
        found = pnn.Network([pnn.Dense(np.ones((1, units)), bias)])(x)
        np.testing.assert_array_equal(numbers(backend, found), np.broadcast_to(1 + bias, (*rows, units)))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_every_row_of_every_batch(backend, dtype, name):
    for rows in ROWS[::3] if backend.name == "jax" else ROWS:
        x = np.resize(np.arange(-8, 9), rows)[..., None]
        columns = np.arange(-25, 25)[None] / 8  # products with x are exact in every dtype
        found = pnn.Network([pnn.Dense(columns, None, name)])(placed(backend, x, dtype))
        rtol = EPSILON[dtype] * (1 if dtype in NARROW else 60)
        np.testing.assert_allclose(
            numbers(backend, found), ORACLES[name](x @ columns), rtol=rtol, atol=SMALLEST_NORMAL[dtype]
        )


@pytest.mark.parametrize("units", [10, 200])
def test_softmax_of_bounded_logits(backend, dtype, units):
    """After a tanh no maximum need be subtracted."""
    columns = np.linspace(-5, 5, units)[None]
    net = pnn.Network([pnn.Dense(np.eye(1), None, "tanh"), pnn.Dense(columns, None, "softmax")])
    x = np.array([[-1.0], [0.0], [0.25], [3.0]])
    found = numbers(backend, net(placed(backend, x, dtype)))
    rtol = 16 * EPSILON[dtype]
    np.testing.assert_allclose(found, ORACLES["softmax"](np.tanh(x) @ columns), rtol=rtol)


def points(name, order):
    """Where a derivative is defined; a second one that jumps at 0 is asked off what float16 has as 0."""
    jumps = name in ("celu", "elu", "selu") and order == 2
    return FINITE[np.abs(FINITE) >= 6e-5] if jumps else FINITE


@hows
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_derivatives_in_pytorch(torch, dtype, how):
    backend = pnn.backends.get("torch")
    for name in each(SMOOTH):
        derivative = call = how(name)
        for order in (1, 2):
            x = placed(backend, points(name, order), dtype)
            call(x)
            derivative = torch.func.grad(derivative)
            check(numbers(backend, torch.func.vmap(derivative)(x)), name, numbers(backend, x), dtype, order)
        x = placed(backend, points(name, 1), dtype).requires_grad_()
        call(x).sum().backward()
        check(numbers(backend, x.grad), name, numbers(backend, x), dtype, 1)


@hows
def test_gradcheck(torch, how):
    x = torch.tensor([-6, -3.1, -1.2, -0.4, 0.3, 1.1, 2.6, 7], dtype=torch.float64, requires_grad=True)
    for name in SMOOTH:
        assert torch.autograd.gradcheck(how(name), x), name
        assert torch.autograd.gradgradcheck(how(name), x), name


@hows
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_derivatives_in_jax(jax, dtype, how, order):
    if how is inside and dtype in NARROW:
        return  # it compiles the same as in a network of one layer
    backend = pnn.backends.get("jax")
    x = placed(backend, FINITE, dtype)
    calls = {name: how(name) for name in IN_JAX}
    for call in calls.values() if dtype == "float32" and order == 1 else ():
        call(x)  # weights that are in place are used under a transformation too
    for _ in range(order):
        calls = {name: jax.grad(call) for name, call in calls.items()}
    results = results_of(backend, {name: jax.vmap(call) for name, call in calls.items()}, x)
    for name in IN_JAX:
        defined = np.isin(FINITE, points(name, order))
        found = numbers(backend, results[name])
        check(found[defined], name, numbers(backend, x)[defined], dtype, order)


@pytest.mark.parametrize("shape", [(3,), (1, 3), (500, 3)], ids=str)
def test_a_slope_beyond_the_dtype_is_silent(shape):
    x = np.broadcast_to(np.array([1e38, -1e38, 0], np.float32), shape)
    found = pnn.Network([pnn.Activation("softplus", beta=100.0)])(x)
    np.testing.assert_allclose(found, np.broadcast_to([np.inf, 0, np.log(2) / 100], shape), rtol=1e-6)


@pytest.mark.parametrize("needs_gradients", [False, True])
def test_compiled_as_one_graph(torch, monkeypatch, needs_gradients):
    kernels = [("gelu", {}), ("gelu_tanh", {}), ("log_sigmoid", {}), ("mish", {})]
    kernels += [("learned_swish", {"alpha": 0.75, "beta": 0.25})]
    pairs = [(pnn.Dense(np.eye(12)), pnn.Activation(name, **parameters)) for name, parameters in kernels]
    net = pnn.Network([layer for pair in pairs for layer in pair])
    x = torch.linspace(-4, 3, 12, dtype=torch.float64, requires_grad=needs_gradients)
    monkeypatch.setattr(
        torch, "compile", partial(torch.compile, backend="aot_eager")
    )  # which needs no C++ compiler
    torch.compiler.reset()
    found, wanted = net.compile()(x), net(x)
    np.testing.assert_allclose(found.detach(), wanted.detach(), rtol=1e-12)
    if needs_gradients:
        slopes, known = (torch.autograd.grad(y.sum(), x)[0] for y in (found, wanted))
        np.testing.assert_allclose(slopes, known, rtol=1e-12)
