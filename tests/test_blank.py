"""Samples of nothing but nan: their labels, an argmax of nan, are not given without a word."""

import warnings
from contextlib import nullcontext

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.layers import Graph, Node, Value

WEIGHT = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
NET = pnn.Network([pnn.Dense(WEIGHT, None, "softmax")])


def told(samples=1):
    return pytest.warns(pnn.InputWarning, match=f"^nothing but nan in {samples} of the samples: leave them out")


def samples(*shape, blank=None):
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    if blank is not None:
        x[blank] = np.nan
    return x


def told_on(backend):
    """What is said where values can be looked at without a wait; a skip where there are no labels."""
    if not backend.has_labels():
        pytest.skip("the device has no integers for labels")
    on_host = backend.name not in ("torch", "jax") or backend.device_name().startswith("cpu")
    return told() if on_host and backend.name not in ("dask", "cupy", "dpnp") else nullcontext()


@pytest.mark.parametrize(
    ("shape", "blank"), [((4,), ...), ((1, 4), 0), ((5, 4), 3), ((2, 3, 4), (1, 2)), ((300, 4), 299)]
)
def test_a_warm_call_tells(backend, shape, blank):
    warned, net = told_on(backend), pnn.Network(NET.layers)
    net.predict(backend.place(samples(*shape)))
    with warned:
        found = net.predict(backend.place(samples(*shape, blank=blank)))
    if backend.device_name() != "meta" and backend.name != "dpnp":  # whose argmax of nan is another
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pnn.InputWarning)  # where Dask computes it
            assert backend.to_numpy(found)[() if len(shape) == 1 else blank] == 0


def test_a_first_call_tells_once(backend):
    """In the words of all values where single samples are not looked at, as on a GPU."""
    told_on(backend)
    if backend.device_name() == "meta":
        pytest.skip("the device has no values")
    for x in (samples(3, 4, blank=...), samples(4, blank=...)):
        with pytest.warns(pnn.InputWarning, match="labels mean nothing$") as caught:
            backend.to_numpy(pnn.Network(NET.layers).predict(backend.place(x)))
        assert len(caught) == 1


def test_it_names_the_caller_and_the_number():
    x = samples(6, 4, blank=[0, 4])
    NET.predict(samples(6, 4))
    with told(2) as caught:
        NET.predict(x)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3e38])
def test_some_nan_and_infinities_are_something(value):
    """An overflow in the sum of squares, or infinities of both signs, are no nan."""
    net = pnn.Network([pnn.Activation("hard_tanh"), *NET.layers])
    x = samples(5, 4)
    x[0, 0], x[1, 0] = value, -value
    x[2, 0] = x[3, 1] = np.nan
    net.predict(x)  # warnings are errors here
    net.predict(x[:1])


def test_values_of_several_axes(backend):
    warned, net = told_on(backend), pnn.Network([pnn.Flatten((2, 2)), *NET.layers])
    x = samples(3, 2, 2, blank=1)
    x[0, 0, 0] = np.nan
    net.predict(backend.place(samples(3, 2, 2)))
    with warned:
        net.predict(backend.place(x))


@pytest.mark.dtypes("float16", "bfloat16", "float64")
def test_other_dtypes(backend, dtype):
    xp, wide = backend.xp, backend.place(samples(3, 4, blank=2))
    x = backend.entered(lambda x: xp.astype(x, backend.dtype(dtype)))(wide)
    warned, net = told_on(backend), pnn.Network(NET.layers)
    net.predict(x[:2, ...])
    with warned:
        net.predict(x)


def test_lists_and_networks_of_other_kinds(torch):
    x = [[np.nan] * 4, [1.0] * 4]
    own = pnn.Network(layer.map(torch.tensor) for layer in NET.layers)
    for net, given in (
        (NET, x),
        (NET.to("numpy"), np.asarray(x)),
        (NET.described(classes=range(1, 4)), x),
        (pnn.Network([pnn.Dense(WEIGHT[:, :1], None, "sigmoid")]), x),
        (pnn.Network([pnn.Dense(WEIGHT, None, "sigmoid")], task="multilabel"), x),
        (pnn.Network([pnn.Activation("softmax")]), x),
        (own, torch.asarray(x, dtype=torch.float32)),
    ):
        net.predict(given[1:])
        with told():
            net.predict(given)


def test_a_derivative_and_inference_mode(torch):
    x = torch.asarray(samples(3, 4, blank=1)).requires_grad_()
    NET.predict(torch.asarray(samples(3, 4)))
    with told():
        NET.predict(x)
    with torch.inference_mode(), told():
        NET.predict(x * 1)


def test_several_inputs_are_told_of_once():
    inputs = [Value(name, "float32", (2,)) for name in "ab"]
    graph = Graph([Node("Add", ["a", "b"], ["sum"])], inputs, ["sum"], {"": 20})
    net = pnn.Network([graph], task="classification")
    a, b = samples(4, 2), samples(4, 2)
    net.predict({"a": a, "b": b})
    a, b = a.copy(), b.copy()
    a[1] = b[1] = np.nan
    a[2, 0] = np.nan
    with told() as caught:
        net.predict({"a": a, "b": b})
    assert len(caught) == 1


def test_infer_evaluate_and_compare_tell_once():
    x, labels = samples(5, 4, blank=3), np.zeros(5, int)
    NET.predict(x[:3])
    for call in (
        lambda: pnn.infer(NET, x),
        lambda: pnn.evaluate(NET, x, labels),
        lambda: pnn.evaluate(NET, x, labels, per_sample=True),
        lambda: pnn.compare(NET, x, labels, backends=["numpy"], batch_sizes=[5], budget=0.01, in_process=True),
    ):
        with told() as caught:
            call()
        assert len(caught) == 1


def test_a_first_call_of_infer_and_evaluate_tells_once():
    x, labels = samples(5, 4, blank=...), np.zeros(5, int)
    for call in (
        lambda net: pnn.infer(net, x),
        lambda net: pnn.evaluate(net, x, labels),
        lambda net: pnn.evaluate(net, x, labels, per_sample=True),
    ):
        with told(5) as caught:
            call(pnn.Network(NET.layers))
        assert len(caught) == 1


def test_under_a_trace_nothing_is_looked_at(torch, jax):
    """After an ordinary call too, whose forward pass is kept."""
    x = samples(2, 4, blank=1)
    NET.predict(torch.asarray(x[:1]))
    NET.predict(jax.numpy.asarray(x[:1]))
    for net in NET, NET.to("jax"):
        assert jax.jit(net.predict)(x)[1] == 0
        assert jax.vmap(net.predict)(jax.numpy.asarray(x))[1] == 0
    assert torch.func.vmap(NET.predict)(torch.asarray(x))[1] == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the shape that is looked at, and of its own age
        traced = torch.jit.trace(NET.predict, torch.asarray(x))
    assert traced(torch.asarray(x))[1] == 0
    compiled = torch.compile(NET.predict, fullgraph=True, backend="eager")
    assert compiled(torch.asarray(x))[1] == 0
