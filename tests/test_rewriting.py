"""Rewriting computes the same: each pass in float64 exactly, all together in float32 as accurately as before."""

from itertools import pairwise

import numpy as np
import pytest
from helpers import EPSILON, forward, placed
from hypothesis import given, settings
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn import rewriting
from portable_nn.activations import ACTIVATIONS, BOUNDED_SOFTMAX, STRICTLY_INCREASING
from portable_nn.placing import labels_of

PASSES = {
    "identities": rewriting.without_identities,
    "rescaling": rewriting.with_folded_rescaling,
    "linear": rewriting.with_merged_linear,
    "sigmoid": rewriting.with_tanh_for_sigmoid,
    "multiples": lambda layers: rewriting.with_multiples(layers, 4),
    "softmax": lambda layers: rewriting.with_bounded_softmax(layers, 708.3),
    "all": lambda layers: rewriting.rewritten(layers, "float64", 4),
}


def dense(rng, n_in, n_out, activation, dtype=np.float64):
    scale = 1 / np.sqrt(n_in)
    return pnn.Dense(
        rng.normal(0, scale, (n_in, n_out)).astype(dtype), rng.normal(0, 1, n_out).astype(dtype), activation
    )


@st.composite
def networks(draw, dtype=np.float64):
    """A network of a few layers, as images or standardised features would have it, and samples for it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    widths = draw(st.lists(st.integers(1, 12) | st.integers(17, 21), min_size=2, max_size=5))
    layers = []
    for n in widths[:1]:
        kind = draw(st.sampled_from(["none", "scalar", "features", "identity", "flatten"]))
        if kind == "scalar":
            layers.append(pnn.Rescaling(1 / 255, draw(st.sampled_from([0.0, -0.5]))))
        elif kind == "features":
            layers.append(
                pnn.Rescaling(rng.uniform(0.5, 2, n).astype(dtype), rng.uniform(-1, 1, n).astype(dtype))
            )
        elif kind == "identity":
            layers.append(pnn.Rescaling(1.0))
        elif kind == "flatten":
            layers += [pnn.Rescaling(0.5), pnn.Flatten((n,))]
    hidden = st.sampled_from([*ACTIVATIONS, "sigmoid", "identity"])
    for n_in, n_out in pairwise(widths):
        layers.append(dense(rng, n_in, n_out, draw(hidden), dtype))
        if draw(st.booleans()):
            layers.append(pnn.Rescaling(2.0, draw(st.sampled_from([0.0, 0.25]))))
    x = rng.normal(0, 1, (8, widths[0])).astype(dtype)
    return pnn.Network(layers), x


@pytest.mark.parametrize("name", PASSES)
@given(case=networks())
@settings(deadline=None)
def test_each_pass_computes_the_same(name, case):
    net, x = case
    new = pnn.Network(PASSES[name](net.layers))
    np.testing.assert_allclose(new(x), net(x), rtol=1e-11, atol=1e-12)


@given(case=networks(np.float32))
@settings(deadline=None, max_examples=40)
def test_the_error_at_most_doubles(backend, case):
    net, x = case
    exact = forward(net, x)
    arrays = placed(backend, x, "float32")
    error = np.abs(backend.to_numpy(net(arrays)) - exact).max()
    new = np.abs(backend.to_numpy(net.optimized()(arrays)) - exact).max()
    few_ulps = 8 * EPSILON["float32"] * max(1, np.abs(exact).max())
    assert new <= max(2 * error, few_ulps)


@given(case=networks(np.float32))
@settings(deadline=None, max_examples=40)
def test_labels_stay(backend, case):
    net, x = case
    if net.output_shape == (1,) or not backend.has_labels():
        return
    logits = pnn.Network(rewriting.without_last_activation(net.layers)).astype("float64").logits(x.astype("f8"))
    ordered = np.sort(logits, axis=-1)
    clear = ordered[:, -1] - ordered[:, -2] > 1e-4 * (1 + np.abs(ordered).max())
    labels = backend.to_numpy(net.predict(placed(backend, x, "float32")))
    np.testing.assert_array_equal(labels[clear], labels_of(logits, np)[clear])


@pytest.mark.dtypes("float32", "float64")
def test_the_reference_network_keeps_its_accuracy(backend, dtype, net, mnist_test):
    images, labels = mnist_test
    x = placed(backend, images, dtype)
    exact = net(images.astype(np.float64))
    found = backend.to_numpy(net.optimized()(x))
    assert (found.argmax(axis=-1) == labels).mean() == 0.9352
    before = np.abs(backend.to_numpy(net(x)) - exact).max()
    assert np.abs(found - exact).max() <= (2 * before if dtype == "float32" else 1e-12)


def test_raw_pixels_meet_one_product_after_another(net):
    layers = rewriting.rewritten(net.layers, "float32")
    assert [layer.activation for layer in layers] == ["tanh", "tanh", BOUNDED_SOFTMAX]


def test_float16_keeps_its_range(net):
    assert rewriting.rewritten(net.layers, "float16") == net.layers


@pytest.mark.parametrize(("size", "dropped"), [(20.0, True), (60.0, False)])
def test_the_maximum_is_dropped_only_below_the_range_of_exp(size, dropped):
    """Logits of two sigmoids lie within twice the weights; float32 holds exp up to 88."""
    last = pnn.Dense(np.full((2, 3), size), np.zeros(3), "softmax")
    layers = rewriting.rewritten((pnn.Dense(np.eye(2), None, "tanh"), last), "float32")
    assert (layers[-1].activation == BOUNDED_SOFTMAX) == dropped


def test_unbounded_logits_keep_their_maximum():
    layers = pnn.Dense(np.eye(2), None, "relu"), pnn.Dense(np.eye(2), None, "softmax")
    assert rewriting.rewritten(layers, "float32")[-1].activation == "softmax"


@pytest.mark.parametrize(
    "rescaling",
    [pnn.Rescaling(1.0, -1000.0), pnn.Rescaling(1e-30), pnn.Rescaling(np.array([1.0, 1e20]))],
    ids=["large offset", "tiny scale", "huge scale"],
)
def test_a_rescaling_whose_folding_would_cost_accuracy_stays(rescaling):
    layers = rescaling, pnn.Dense(np.eye(2), None, "identity")
    assert rewriting.rewritten(layers, "float32") == layers


def test_a_large_mean_costs_no_accuracy():
    """Features around a million with a spread of one, standardised exactly: folding would leave three digits."""
    rng = np.random.default_rng(0)
    x = (1e6 + rng.integers(-8, 8, (100, 20))).astype(np.float32)
    net = pnn.Network([pnn.Rescaling(1.0, -1e6), dense(rng, 20, 5, "softmax", np.float32)])
    np.testing.assert_allclose(net.optimized()(x), forward(net, x), atol=1e-6)


def test_infinite_weights_are_left_alone():
    layers = pnn.Rescaling(2.0), pnn.Dense(np.array([[np.inf], [1.0]]), None, "sigmoid")
    assert rewriting.rewritten(layers, "float32") == layers


@pytest.mark.parametrize(("widths", "merged"), [((8, 8, 8), True), ((8, 1, 8), False), ((2, 30, 3), True)])
def test_linear_layers_merge_where_that_saves_products(widths, merged):
    rng = np.random.default_rng(0)
    layers = tuple(dense(rng, *pair, "identity") for pair in pairwise(widths))
    assert len(rewriting.with_merged_linear(layers)) == (1 if merged else 2)


def test_of_identities_alone_one_stays():
    layers = pnn.Rescaling(1.0), pnn.Flatten((3,))
    assert rewriting.without_identities(layers) == layers[:1]


@pytest.mark.parametrize("activation", sorted(STRICTLY_INCREASING))
def test_labels_need_no_activation_that_keeps_the_order(activation):
    rng = np.random.default_rng(0)
    net = pnn.Network([dense(rng, 5, 4, activation)])
    assert rewriting.without_last_activation(net.layers)[-1].activation == "identity"
    x = rng.normal(size=(100, 5))
    np.testing.assert_array_equal(net.predict(x), net(x).argmax(axis=-1))


@pytest.mark.parametrize(("n", "widened"), [(16, 16), (17, 20), (18, 20), (20, 20), (50, 52)])
def test_hidden_layers_get_multiples_of_units(n, widened):
    rng = np.random.default_rng(0)
    net = pnn.Network([dense(rng, 5, n, "tanh"), dense(rng, n, n, "tanh"), dense(rng, n, 18, "tanh")])
    new = pnn.Network(rewriting.with_multiples(net.layers, 4))
    assert [layer.weight.shape for layer in new.layers] == [(5, widened), (widened, widened), (widened, 18)]
    x = rng.normal(size=(30, 5))
    x[:5, 2], x[5:8, 3], x[8:10, 4] = np.inf, -np.inf, np.nan
    with np.errstate(invalid="ignore"):  # a BLAS may set the flag for any product with an infinity
        found, wanted = new(x), net(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    assert np.isfinite(wanted[:8]).all()


@pytest.mark.parametrize("activation", ["relu", "softmax", "identity"])
def test_unbounded_or_coupled_units_are_not_copied(activation):
    rng = np.random.default_rng(0)
    layers = dense(rng, 5, 18, activation), dense(rng, 18, 3, "softmax")
    assert rewriting.with_multiples(layers, 4) == layers


@pytest.mark.parametrize("activation", sorted(set(ACTIVATIONS) - STRICTLY_INCREASING))
def test_other_activations_decide_the_label(activation):
    rng = np.random.default_rng(0)
    net = pnn.Network([dense(rng, 5, 4, activation)])
    x = rng.normal(size=(100, 5))
    np.testing.assert_array_equal(net.predict(x), net(x).argmax(axis=-1))


# PyTorch's compiler uses what PyTorch deprecates.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_compiled_networks_compute_the_same(backend, net, mnist_test):
    images, _ = mnist_test
    x = backend.place(images[:1000])
    compiled = net.compile()
    np.testing.assert_allclose(backend.to_numpy(compiled(x)), net(images[:1000].astype(np.float64)), atol=1e-5)
    if backend.has_labels():
        found = backend.to_numpy(compiled.predict(x))
        np.testing.assert_array_equal(found, net.predict(images[:1000].astype(np.float64)))


def test_an_optimized_bound_network_stays_where_it_was(backend, net, mnist_test):
    images, _ = mnist_test
    bound = net.to(backend).optimized()
    assert bound.backend == backend
    found = backend.to_numpy(bound(backend.place(images[:100])))
    np.testing.assert_allclose(found, net(images[:100].astype(np.float64)), atol=1e-5)


def test_an_optimized_bound_network_keeps_the_range_of_float16(net, mnist_test):
    x = mnist_test[0][:100].astype(np.float16)
    exact = net(x.astype(np.float64))
    for bound in (net.to("numpy").optimized(), net.to("numpy").optimized().astype("float16")):
        np.testing.assert_allclose(bound(x), exact, atol=1e-2)


def test_how_a_network_runs_goes_with_it(backend, net, tmp_path):
    for how in ("optimized", "compile"):
        new = getattr(net, how)()
        for moved in (new.to(backend), new.to(backend).to_numpy(), new.astype("float32")):
            assert (moved._optimized, moved._compiled) == (True, how == "compile")
    pnn.save(net.to(backend).optimized(), tmp_path / "net.safetensors")
    assert pnn.load(tmp_path / "net.safetensors").same_architecture(net)


def test_repr_says_how_it_runs(net):
    assert repr(net.optimized()).endswith(", optimized)")
    assert repr(net.compile()).endswith(", compiled)")
