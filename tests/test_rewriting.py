"""Rewriting computes the same: within the rounding that the layers as given have, and never another label."""

import warnings
from contextlib import contextmanager
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
from array_api_compat import numpy as xp
from helpers import HIDDEN, LARGEST, SMALLEST_NORMAL, forward, placed, predicted, rounding_bound
from hypothesis import given, settings
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn import rewriting
from portable_nn.activations import ACTIVATIONS, BOUNDED_SOFTMAX, is_strictly_increasing
from portable_nn.placing import plain

PASSES = {
    "identities": lambda layers, dtype: rewriting.without_identities(layers),
    "rescaling": rewriting.with_folded_rescaling,
    "linear": rewriting.with_merged_linear,
    "softmax": rewriting.with_bounded_softmax,
    "gelu": rewriting.with_gated_gelu,
    "all": rewriting.rewritten,
}


def numbers(rng, shape):
    """Numbers of ordinary sizes, or of 1e-12 to 1e12: all alike, or each column, row or number of its own."""
    normal = rng.normal(size=shape)
    alike = rng.choice(["ordinary", "all", "columns", "rows", "none"])
    if alike == "ordinary":
        return normal / np.sqrt(shape[0])
    of_sizes = {"all": (1,), "columns": shape[-1:], "rows": (shape[0], *(1 for _ in shape[1:])), "none": shape}
    return normal * 10 ** rng.uniform(-12, 12, of_sizes[alike])


def rescaling(rng, n):
    """A Rescaling of n values, as images, standardised features or units of measurement have it."""
    match rng.integers(5):
        case 0:
            return pnn.Rescaling(1 / 256, float(rng.choice([0, -0.5])))
        case 1:
            return pnn.Rescaling(numbers(rng, (n,)), numbers(rng, (n,)))
        case 2:
            return pnn.Rescaling(1.0)
        case 3:
            return pnn.Rescaling(float(10 ** rng.uniform(-12, 12)), float(rng.choice([0, 0.25, 1e3])))
        case _:
            return pnn.Rescaling(numbers(rng, (n,)))


@st.composite
def networks(draw):
    """The layers of a network whose weights span 1e-12 to 1e12, and eight samples for it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    widths = rng.integers(1, 22, rng.integers(2, 6))
    names = [*HIDDEN, "sigmoid", "identity", "relu", "relu", "gelu"]
    layers = [pnn.Flatten((int(widths[0]),))] * int(rng.integers(2))
    for n_in, n_out in pairwise(widths):
        layers += [rescaling(rng, n_in) for _ in range(rng.choice([0, 0, 1, 2]))]
        layers.append(pnn.Dense(numbers(rng, (n_in, n_out)), numbers(rng, (n_out,)), str(rng.choice(names))))
    layers += [rescaling(rng, widths[-1])] * int(rng.integers(2))
    x = rng.normal(size=(8, widths[0])) * 10 ** rng.uniform(-3, 3)
    return tuple(layers), x


def within(found, wanted, layers, x, dtype):
    """Check a result in a dtype against the exact one, where neither may overflow."""
    allowed = rounding_bound(layers, x, dtype) + rounding_bound(layers, x, "float64")
    finite = np.isfinite(allowed)
    assert np.all(np.abs(found - wanted)[finite] <= allowed[finite])


@contextmanager
def quiet():
    """NumPy says nothing of weights and values that leave the range of a dtype, which here they are meant to."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(overflow|invalid value) encountered", RuntimeWarning)
        yield


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", PASSES)
@given(case=networks())
@settings(deadline=None, max_examples=50)
def test_each_pass_computes_the_same(name, dtype, case):
    """As float64 shows; and as NumPy's float32 does, in which weights may neither overflow nor vanish."""
    layers, x = case
    new = PASSES[name](layers, dtype)
    with quiet():
        within(plain(new, x), plain(layers, x), layers, x, "float64")
        if dtype == "float32":
            x = x.astype(dtype)
            found = x
            for layer in new:
                found = layer.map(lambda array: array.astype(np.float32))(found, xp)
            within(found, plain(layers, x), layers, x, dtype)


def on_random_networks(check):
    """A test of a check on 40 networks, or 10 where each is compiled; one on ten times as many is slow."""

    @pytest.mark.parametrize("depth", [1, pytest.param(10, marks=pytest.mark.slow)], ids=["quick", "deep"])
    def test(backend, dtype, depth):
        few = backend.name == "jax" and dtype != "float16"  # whose range most networks leave

        @given(case=networks())
        @settings(deadline=None, max_examples=depth * (10 if few else 40))
        def each(case):
            layers, x = case
            if dtype != "float16" or max(np.abs(value).max() for value in weights(layers)) <= LARGEST[dtype]:
                check(backend, dtype, layers, placed(backend, x, dtype))

        each()

    return test


@on_random_networks
def test_errors_stay_within_the_bound(backend, dtype, layers, x):
    with quiet():
        found = backend.to_numpy(pnn.Network(layers)(x)).astype(np.float64)
        x = backend.to_numpy(x).astype(np.float64)
        within(found, plain(layers, x), layers, x, dtype)


@on_random_networks
def test_labels_stay_where_the_bound_leaves_them_clear(backend, dtype, layers, x):
    net = pnn.Network(layers)
    if net.output_shape == (1,):
        return
    with quiet():
        found = predicted(net, backend, x)
        x = backend.to_numpy(x).astype(np.float64)
        labels, logits = plain(layers, x, "labels"), plain(layers, x, "logits")
        to_logits = rewriting.parted(layers)[0]
        error = rounding_bound(to_logits, x, dtype) + rounding_bound(to_logits, x, "float64")
    best = np.arange(logits.shape[-1]) == labels[:, None]
    lowest = np.where(best, logits - error, np.inf).min(axis=-1)
    clear = lowest > np.where(best, -np.inf, logits + error).max(axis=-1)
    np.testing.assert_array_equal(found[clear], labels[clear])


def weights(layers):
    """Every array of weights, and the scales and offsets that are plain numbers."""
    for layer in layers:
        yield from layer.arrays.values()
        if isinstance(layer, pnn.Rescaling):
            yield from (np.asarray(layer.scale), np.asarray(layer.offset))


@pytest.mark.parametrize("net", ["mnist"], indirect=True)
def test_the_reference_network_keeps_its_accuracy(backend, dtype, net, mnist_test):
    images, labels = mnist_test
    found = predicted(net, backend, placed(backend, images, dtype))
    assert abs((found == labels).mean() - 0.9352) <= {"bfloat16": 0.002, "float16": 0.0005}.get(dtype, 0)


# Numbers that were wrong


@cache
def tails(dtype, hidden, weight):
    """Layers, samples, their labels in float64, and how many of these a plain loop in a dtype gets wrong.

    The tail is such as the weight brings back, of about 1 / weight: gelu, whose tail is a normal density's, has
    it nearer to 0 than the others.
    """
    torch = pytest.importorskip("torch", reason="the plain loop in bfloat16 is PyTorch's: pip install torch")
    shift = np.full(10, -np.sqrt(2 * np.log(weight)) if hidden == "gelu" else -np.log(weight))
    layers = pnn.Dense(np.eye(10), shift, hidden), pnn.Dense(np.eye(10) * weight, None, "softmax")
    x = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (20_000, 10)).astype(np.float32))
    of_loop = x.to(getattr(torch, dtype))
    x = of_loop.double().numpy()
    for layer in (layers[0], layers[1].with_activation("identity")):
        weight_, bias = (torch.from_numpy(array.copy()).to(of_loop.dtype) for array in (layer.weight, layer.bias))
        of_loop = ACTIVATIONS[layer.activation](of_loop @ weight_ + bias)
    labels = plain(layers, x, "labels")
    return layers, x, labels, (of_loop.argmax(dim=-1).numpy() != labels).sum()


@pytest.mark.parametrize("weight", [10, 1e3, 1e4, 1e5, 1e6])
@pytest.mark.parametrize("hidden", ["sigmoid", "silu", "gelu", "gelu_tanh", "softplus"])
@pytest.mark.dtypes("bfloat16", "float32")
def test_tails_that_meet_large_weights(backend, dtype, hidden, weight):
    """No more wrong labels than a plain loop in that dtype has, but for a few that other roundings make."""
    layers, x, labels, allowed = tails(dtype, hidden, weight)
    wrong = (predicted(pnn.Network(layers), backend, placed(backend, x, dtype)) != labels).sum()
    assert wrong <= 1.1 * allowed + 10


def test_scales_are_folded_in_float64():
    hundreds = pnn.Rescaling(np.full(2, 200.0, np.float16)), pnn.Rescaling(np.full(2, 0.005, np.float16))
    thousands = pnn.Rescaling(np.full(2, 1000.0, np.float16)), pnn.Rescaling(np.full(2, 1000.0, np.float16))
    x = np.array([[1, 2], [2, 1]])
    for first, second in (hundreds, thousands):
        net = pnn.Network([first, second, pnn.Dense(np.eye(2, dtype=np.float16), None, "softmax")])
        for dtype in ("float16", "float32", "float64"):
            np.testing.assert_array_equal(net.predict((x / 1024).astype(dtype)), [1, 0])


@pytest.mark.parametrize("weights_in", ["float16", "float32"])
def test_a_scale_beyond_float16(backend, dtype, weights_in):
    """In float16 the values overflow, as layer by layer, but where it is computed in float32; none warns."""
    eye = np.eye(2, dtype=weights_in)
    net = pnn.Network([pnn.Rescaling(1e12), pnn.Rescaling(1e-12), pnn.Dense(eye, None, "softmax")])
    labels = predicted(net, backend, placed(backend, [[1, 2], [2, 1]], dtype))
    if backend.computed_in(dtype) != "float16":
        np.testing.assert_array_equal(labels, [1, 0])


@pytest.mark.parametrize("kind", ["uint8", "int64", "float32"])
def test_a_scale_beyond_float16_of_integers(kind):
    net = pnn.Network([pnn.Rescaling(1e12), pnn.Dense(np.eye(2, dtype=np.float16) / 1024, None, "softmax")])
    np.testing.assert_array_equal(net.predict(np.array([[1, 2], [2, 1]], dtype=kind)), [1, 0])


@pytest.mark.dtypes("bfloat16", "float32", "float64")
def test_products_that_overflow_are_not_merged(backend, dtype):
    layers = [pnn.Dense(np.eye(2) * 1e20), pnn.Dense(np.eye(2) * 1e20), pnn.Dense(np.eye(2), None, "softmax")]
    x = placed(backend, np.array([[1e-6, 2e-6], [2e-6, 1e-6]]), dtype)
    np.testing.assert_array_equal(predicted(pnn.Network(layers), backend, x), [1, 0])


@pytest.mark.parametrize("small", [pnn.Dense(np.eye(2) * 1e-200), pnn.Rescaling(1e-200)])
def test_products_that_vanish_are_not_merged(small):
    net = pnn.Network([pnn.Dense(np.eye(2) * 1e-200), small, pnn.Dense(np.eye(2) * 1e300, None, "softmax")])
    np.testing.assert_allclose(net.logits(np.array([1e200, -2e200])), [1e100, -2e100])


@pytest.mark.parametrize(
    "layer",
    [pnn.Dense(np.eye(2) * 4, np.full(2, -2.0), "sigmoid"), pnn.Rescaling(1.0, 1e-3), pnn.Dense(np.eye(2))],
    ids=["sigmoid", "rescaling", "linear"],
)
def test_thousands_of_layers(layer):
    net = pnn.Network([*[layer] * 1500, pnn.Dense(np.eye(2), None, "softmax")])
    x = np.array([[0.3, 0.9], [0.8, 0.2]])
    np.testing.assert_array_equal(net.predict(x), plain(net.layers, x, "labels"))
    np.testing.assert_array_equal(net.predict(x), [1, 0])


def test_hidden_softmax_of_any_width():
    """A hidden layer may be widened for speed, which units that know of each other would notice."""
    rng = np.random.default_rng(0)
    for n in range(15, 25):
        for name in HIDDEN:
            first = pnn.Dense(rng.normal(size=(5, n)), rng.normal(size=n), name)
            net = pnn.Network([first, pnn.Dense(rng.normal(size=(n, 3)))])
            x = rng.normal(size=(30, 5))
            np.testing.assert_allclose(net(x), forward(net, x), rtol=1e-11, atol=1e-12)


def test_infinities_and_nan_go_through_hidden_layers_of_any_width():
    rng = np.random.default_rng(0)
    for n in (16, 17, 18, 20, 50):
        net = pnn.Network(
            [pnn.Dense(rng.normal(size=shape), None, "tanh") for shape in ((5, n), (n, n), (n, 18))]
        )
        x = rng.normal(size=(30, 5))
        x[:5, 2], x[5:8, 3], x[8:10, 4] = np.inf, -np.inf, np.nan
        with np.errstate(invalid="ignore"):  # a BLAS may set the flag for any product with an infinity
            found, wanted = net(x), forward(net, x)
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12)
        assert np.isfinite(wanted[:8]).all()


# What is rewritten, and what is not


def test_raw_pixels_meet_one_product_after_another(net):
    layers = rewriting.rewritten(net.layers, "float32")
    assert [layer.activation for layer in layers] == ["sigmoid", "sigmoid", BOUNDED_SOFTMAX]


def test_float16_keeps_its_range(net):
    assert rewriting.rewritten(net.layers, "float16") == net.layers


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("share", "dropped"), [(0.999, True), (1.0, False)])
def test_the_maximum_is_dropped_only_where_exp_is_normal(share, dropped, sign, dtype):
    """Two sigmoids times half a size reach it; and there are three exponentials to sum."""
    size = -share * np.log(SMALLEST_NORMAL[dtype]) - np.log(3)
    last = pnn.Dense(np.full((2, 3), sign * size / 2), np.zeros(3), "softmax")
    for more in (0.0, 7.0):  # that a bias takes back
        moved = pnn.Dense(last.weight + sign * more / 2, last.bias - sign * more, "softmax")
        layers = rewriting.rewritten((pnn.Dense(np.eye(2), None, "sigmoid"), moved), dtype)
        assert (layers[-1].activation == BOUNDED_SOFTMAX) == dropped


@pytest.mark.parametrize("hidden", ["step", "sigmoid", "softmax", "tanh"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_a_softmax_without_its_maximum_is_the_same(hidden, dtype):
    rng = np.random.default_rng(0)
    layers = pnn.Dense(rng.normal(size=(5, 8)), None, hidden), pnn.Dense(rng.normal(size=(8, 3)), None, "softmax")
    new = rewriting.with_bounded_softmax(layers, dtype)
    assert new[-1].activation == BOUNDED_SOFTMAX
    x = rng.normal(size=(100, 5))
    np.testing.assert_allclose(plain(new, x), plain(layers, x), rtol=1e-14)


def test_a_negative_scale_after_a_relu_stays_there():
    layers = pnn.Dense(np.eye(2), None, "relu"), pnn.Rescaling(np.array([2.0, -3.0]))
    new = rewriting.with_folded_rescaling(layers, "float64")
    np.testing.assert_array_equal(plain(new, np.array([1.0, 1.0])), [2, -3])


def test_unbounded_logits_keep_their_maximum():
    layers = pnn.Dense(np.eye(2), None, "relu"), pnn.Dense(np.eye(2), None, "softmax")
    assert rewriting.rewritten(layers, "float32")[-1].activation == "softmax"


W = np.array([[1.0, -2.0], [3.0, 0.5]])
TWO = np.array([2.0, 0.25])


@pytest.mark.parametrize(
    ("layers", "left", "wanted"),
    [
        ([pnn.Rescaling(4.0, 0.5), pnn.Rescaling(0.25, 8.0)], [pnn.Rescaling], lambda x: x + 8.125),
        ([pnn.Rescaling(4.0, 1.0), pnn.Rescaling(TWO, TWO)], [pnn.Rescaling], lambda x: (4 * x + 2) * TWO),
        ([pnn.Rescaling(TWO, 0.5), pnn.Dense(W, TWO)], [pnn.Dense], lambda x: (x * TWO + 0.5) @ W + TWO),
        ([pnn.Rescaling(4.0, TWO / 2), pnn.Dense(W, TWO)], [pnn.Dense], lambda x: (4 * x + TWO / 2) @ W + TWO),
        ([pnn.Dense(W, TWO), pnn.Rescaling(TWO, 3.0)], [pnn.Dense], lambda x: (x @ W + TWO) * TWO + 3),
        ([pnn.Dense(W, TWO, "relu"), pnn.Rescaling(4.0)], [pnn.Dense], lambda x: np.maximum(x @ W + TWO, 0) * 4),
        ([pnn.Dense(W, TWO), pnn.Dense(W, TWO)], [pnn.Dense], lambda x: (x @ W + TWO) @ W + TWO),
        (
            [pnn.Rescaling(0.5), pnn.Flatten((2, 1)), pnn.Dense(W)],
            [pnn.Flatten, pnn.Dense],
            lambda x: x[..., 0] / 2 @ W,
        ),
        (
            [pnn.Normalize(TWO, TWO / 4, 0.0), pnn.Dense(W)],
            [pnn.Normalize, pnn.Dense],
            lambda x: (scipy.stats.zscore(x, axis=1) * TWO + TWO / 4) @ W,
        ),
        (
            [pnn.Normalize(None, None, 0.0), pnn.Rescaling(TWO, 3.0)],
            [pnn.Normalize],
            lambda x: scipy.stats.zscore(x, axis=1) * TWO + 3,
        ),
        (
            [pnn.Normalize(TWO, TWO, 0.0), pnn.Rescaling(TWO, 3.0)],
            [pnn.Normalize],
            lambda x: (scipy.stats.zscore(x, axis=1) * TWO + TWO) * TWO + 3,
        ),
    ],
)
def test_what_is_folded(layers, left, wanted):
    new = rewriting.rewritten(tuple(layers), "float32")
    assert [type(layer) for layer in new] == left
    assert not any(layer.arrays for layer in new[:-1])
    x = np.array([[1.5, -2.0], [-0.5, 4.0], [3.0, 0.25]])
    x = x[..., None] if pnn.Flatten in left else x
    np.testing.assert_allclose(plain(new, x), wanted(x), rtol=1e-14)


@pytest.mark.parametrize(
    "rescaling",
    [
        pnn.Rescaling(1.0, -1000.0),
        pnn.Rescaling(1.0, 1.001),
        pnn.Rescaling(0.9e-12),
        pnn.Rescaling(np.array([1.0, 1.1e12])),
    ],
    ids=["large offset", "offset above 1", "tiny scale", "huge scale"],
)
def test_a_rescaling_whose_folding_would_cost_accuracy_stays(rescaling):
    layers = rescaling, pnn.Dense(np.eye(2), None, "identity")
    assert rewriting.rewritten(layers, "float32") == layers


@pytest.mark.parametrize("rescaling", [pnn.Rescaling(1e-12, -1.0), pnn.Rescaling(1e12, 1.0)])
def test_a_rescaling_of_the_last_size_that_is_folded(rescaling):
    (layer,) = rewriting.rewritten((rescaling, pnn.Dense(W)), "float32")
    np.testing.assert_allclose(layer.weight, W * rescaling.scale, rtol=1e-15)


def test_layers_that_change_nothing_go():
    last = pnn.Dense(W)
    layers = pnn.Flatten((2,)), pnn.Activation("identity"), pnn.Rescaling(1.0), last
    assert rewriting.rewritten(layers, "float16") == (last,)


@pytest.mark.parametrize("after", [pnn.Rescaling(TWO, 1.0), pnn.Rescaling(-TWO), pnn.Rescaling(0.0)])
def test_a_relu_keeps_what_it_does_not_pass_on(after):
    layers = pnn.Dense(W, None, "relu"), after
    assert rewriting.rewritten(layers, "float32") == layers


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_what_is_folded_is_normal(dtype):
    """One layer of two whose product is the smallest normal number, or the largest power of 2; else both."""
    for number, beyond in ((SMALLEST_NORMAL[dtype], 0.5), (LARGEST[dtype], 2.0)):
        root = 2.0 ** (np.log2(number) // 2)
        for factor, count in ((1.0, 1), (beyond, 2)):
            layers = pnn.Dense(W * 0 + root), pnn.Dense(np.eye(2) * (number / root * factor))
            assert len(rewriting.rewritten(layers, dtype)) == count


def test_a_large_mean_costs_no_accuracy(backend):
    """Features around a million with a spread of one, standardised exactly: folding would leave three digits."""
    rng = np.random.default_rng(0)
    x = (1e6 + rng.integers(-8, 8, (100, 20))).astype(np.float32)
    last = pnn.Dense(rng.normal(size=(20, 5)).astype(np.float32), None, "softmax")
    net = pnn.Network([pnn.Rescaling(1.0, -1e6), last])
    np.testing.assert_allclose(backend.to_numpy(net(placed(backend, x, "float32"))), forward(net, x), atol=1e-5)


def test_infinite_weights_are_left_alone():
    layers = pnn.Rescaling(2.0), pnn.Dense(np.array([[np.inf], [1.0]]), None, "sigmoid")
    assert rewriting.rewritten(layers, "float32") == layers


@pytest.mark.parametrize(
    ("widths", "merged"), [((8, 8, 8), True), ((8, 1, 8), False), ((2, 1, 2), True), ((2, 30, 3), True)]
)
def test_linear_layers_merge_where_that_costs_no_products(widths, merged):
    rng = np.random.default_rng(0)
    layers = tuple(pnn.Dense(rng.normal(size=pair)) for pair in pairwise(widths))
    assert len(rewriting.with_merged_linear(layers, "float32")) == (1 if merged else 2)


def test_identities_alone_stay_so_that_no_view_of_the_input_comes_out():
    layers = pnn.Flatten((3,)), pnn.Rescaling(1.0)
    assert rewriting.without_identities(layers) == layers
    x = np.ones((2, 3))
    assert not np.shares_memory(pnn.Network(layers)(x), x)


@pytest.mark.parametrize("activation", HIDDEN)
def test_labels_are_those_of_the_outputs(activation):
    rng = np.random.default_rng(0)
    net = pnn.Network([pnn.Dense(rng.normal(size=(5, 4)), rng.normal(size=4), activation)])
    x = rng.normal(size=(100, 5))
    np.testing.assert_array_equal(net.predict(x), net(x).argmax(axis=-1))
    left = rewriting.parted(net.layers)[0][-1].activation
    assert left == ("identity" if is_strictly_increasing(activation, {}) else activation)


# PyTorch's compiler uses what PyTorch deprecates, and on a GPU advises TF32.
@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores:UserWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_compiled_networks_compute_the_same(backend, net, mnist_test):
    images, _ = mnist_test
    x = backend.place(images[:1000])
    compiled = net.compile()
    np.testing.assert_allclose(backend.to_numpy(compiled(x)), plain(net.layers, images[:1000]), atol=1e-5)
    if backend.has_labels():
        found = backend.to_numpy(compiled.predict(x))
        np.testing.assert_array_equal(found, plain(net.layers, images[:1000], "labels"))


def test_a_bound_network_keeps_the_range_of_float16(net, mnist_test):
    x = mnist_test[0][:100].astype(np.float16)
    exact = plain(net.layers, x)
    for bound in (net.to("numpy"), net.to("numpy").astype("float16")):
        np.testing.assert_allclose(bound(x), exact, atol=1e-2)
