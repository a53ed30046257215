"""The error function, the normal distribution and gelu to four units in the last place, in both tails.

SciPy's values in float64 are the oracle for the other dtypes. For float64 it is mpmath: in the lower tail SciPy's
own ndtr is off by hundreds of units.
"""

import numpy as np
import pytest
import scipy.special
from helpers import EPSILON, SMALLEST_NORMAL, ndtr, placed

import portable_nn as pnn
from portable_nn import activations

NAMES = ("erf", "erfc", "ndtr", "gelu")
SIZES = np.concatenate([np.linspace(0, 1.5, 151), np.linspace(1.5, 40, 400), 10.0 ** np.arange(-30, 0)])
X = np.concatenate([SIZES, -SIZES])
EXTREMES = np.array([-np.inf, -1e4, -88, -17, -1, -1e-40, -0.0, 0, 1e-40, 1, 17, 88, 1e4, np.inf])
functions = pytest.mark.parametrize("name", NAMES)


def of_scipy(name, x):
    """In float64, of numbers that need not be."""
    return {"ndtr": ndtr, "gelu": lambda x: x * ndtr(x)}.get(name, getattr(scipy.special, name, None))(x)


def of_mpmath(name, x):
    """Rounded to float64 once."""
    mpmath = pytest.importorskip("mpmath", reason="pip install mpmath")
    with mpmath.workdps(30):
        return np.array([float(exact(mpmath, name, mpmath.mpf(float(number)))) for number in x])


def exact(mpmath, name, x):
    match name:
        case "erf" | "erfc":
            return getattr(mpmath, name)(x)
        case "ndtr":
            return mpmath.erfc(-x / mpmath.sqrt(2)) / 2
        case "gelu":
            return x * exact(mpmath, "ndtr", x)


@functions
def test_four_units_in_the_last_place(backend, dtype, name):
    x = placed(backend, X, dtype)
    found, numbers = (backend.to_numpy(array).astype(np.float64) for array in (getattr(activations, name)(x), x))
    wanted = (of_mpmath if dtype == "float64" else of_scipy)(name, numbers)
    normal = np.abs(wanted) >= SMALLEST_NORMAL[dtype]
    np.testing.assert_allclose(found[normal], wanted[normal], rtol=4 * EPSILON[dtype])
    np.testing.assert_allclose(found, wanted, atol=SMALLEST_NORMAL[dtype], rtol=4 * EPSILON[dtype])


DENSE = {"float32": np.linspace(-14, 8, 40_001), "float64": np.linspace(-37, 9, 1501)}


@pytest.mark.dtypes("float32", "float64")
def test_gelu_of_a_network_as_if_its_product_was_rounded_otherwise(backend, dtype):
    """Down the lower tail that is worth ``x * x`` units of the result."""
    x = placed(backend, DENSE[dtype], dtype)
    net = pnn.Network([pnn.Dense(np.eye(1), None, "gelu")]).astype("float32")
    found, numbers = (backend.to_numpy(array).astype(np.float64) for array in (net(x[:, None])[:, 0], x))
    wanted = (of_mpmath if dtype == "float64" else of_scipy)("gelu", numbers)
    units = 4 + 2 * np.minimum(numbers, 0) ** 2
    small = 8 * SMALLEST_NORMAL[dtype]  # erfc is not normal where x * erfc is
    assert np.all(np.abs(found - wanted) <= units * EPSILON[dtype] * np.abs(wanted) + small)


# gelu of -inf is that times 0, to SciPy too
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@functions
def test_extremes(backend, dtype, name):
    with np.errstate(under="ignore"):  # of the test's own casts
        x = placed(backend, EXTREMES, dtype)
    found = backend.to_numpy(getattr(activations, name)(x)).astype(np.float64)
    wanted = of_scipy(name, backend.to_numpy(x).astype(np.float64))
    np.testing.assert_allclose(found, wanted, rtol=4 * EPSILON[dtype], atol=4 * SMALLEST_NORMAL[dtype])


def derivatives(name, x):
    """The first two in closed form, with their limits."""
    near = np.clip(x, -1e5, 1e5)
    density, bell = np.exp(-near * near / 2) / np.sqrt(2 * np.pi), 2 / np.sqrt(np.pi) * np.exp(-near * near)
    match name:
        case "erf":
            return bell, -2 * near * bell
        case "erfc":
            return -bell, 2 * near * bell
        case "ndtr":
            return density, -near * density
        case "gelu":
            return ndtr(x) + near * density, (2 - near * near) * density


POINTS = np.concatenate([EXTREMES, np.linspace(-9, 9, 73)])
POINTS_LOWER = np.linspace(-25, 0, 51)


@functions
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 3e-5), ("float64", 2e-11)])
def test_derivatives_in_pytorch(torch, name, dtype, rtol):
    function = getattr(activations, name)
    x = torch.tensor(POINTS, dtype=getattr(torch, dtype))
    first = torch.func.grad(function)
    for order, derivative in enumerate((first, torch.func.grad(first))):
        found = torch.func.vmap(derivative)(x)
        np.testing.assert_allclose(found, derivatives(name, POINTS)[order], rtol=0, atol=rtol)


@functions
def test_derivatives_in_jax(jax, name):
    function = getattr(activations, name)
    x = jax.numpy.asarray(POINTS, dtype="float32")
    first = jax.grad(function)
    for order, derivative in enumerate((first, jax.grad(first))):
        found = jax.jit(jax.vmap(derivative))(x)
        np.testing.assert_allclose(found, derivatives(name, POINTS)[order], rtol=0, atol=3e-5)


@pytest.mark.parametrize("name", ["ndtr", "gelu"])
def test_derivatives_keep_their_digits_in_the_lower_tail(torch, name):
    x = torch.tensor(POINTS_LOWER, requires_grad=True)
    (found,) = torch.autograd.grad(getattr(activations, name)(x).sum(), x)
    wanted = derivatives(name, POINTS_LOWER)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-11)


def test_a_probability_and_its_complement_are_one():
    x = np.linspace(-40, 40, 2001)
    np.testing.assert_allclose(activations.ndtr(x) + activations.ndtr(-x), 1, rtol=4e-16)
    np.testing.assert_array_equal(activations.erf(-x), -activations.erf(x))
    assert pnn.activations.ndtr(np.float32(0)[None]) == 0.5
