"""`Network`: building, calling, labels, placement, and what it leaves as it was."""

import copy
import dataclasses
import math
import pickle

import numpy as np
import pytest
from helpers import TOLERANCE, check_beside, check_place, forward, placed, predicted
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import portable_nn as pnn

RANDOM = np.random.default_rng(20)
W1, B1 = RANDOM.normal(size=(4, 5)), RANDOM.normal(size=5)
W2, B2 = RANDOM.normal(size=(5, 3)), RANDOM.normal(size=3)
X = RANDOM.normal(size=(6, 4))


def dense(n_in, n_out, activation="identity"):
    return pnn.Dense(np.ones((n_in, n_out)), np.zeros(n_out), activation)


def small(dtype=np.float32):
    return pnn.Network(
        [
            pnn.Rescaling(0.5, np.zeros(4, dtype=dtype)),
            pnn.Dense(W1.astype(dtype), B1.astype(dtype), "sigmoid"),
            pnn.Dense(W2.astype(dtype), B2.astype(dtype), "softmax"),
        ]
    )


def weights(net):
    return [array for layer in net.layers for array in layer.arrays.values()]


# Building


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "needs at least one layer, got none"),
        ([dense(784, 50), np.tanh], "layer 1 must be one of Dense, .*, got ufunc"),
        ([dense(4, 7), dense(7, 50), dense(60, 1)], "layer 1 gives 50 values, layer 2 takes 60 values"),
        ([pnn.Rescaling(1.0), dense(4, 7), pnn.Rescaling(np.ones(8))], "layer 1 gives 7 values, layer 2 takes 8"),
        ([pnn.Flatten((28, 28)), dense(28, 10)], "layer 0 gives 784 values, layer 1 takes 28 values"),
        ([dense(4, 4), pnn.Flatten((2, 2))], r"layer 0 gives 4 values, layer 1 takes samples of shape \(2, 2\)"),
    ],
)
def test_layers_that_make_no_network(layers, message):
    with pytest.raises(pnn.NetworkError, match=message):
        pnn.Network(layers)


def test_a_generator_of_layers_is_taken():
    assert len(pnn.Network(dense(3, 3) for _ in range(3)).layers) == 3


def test_shapes_are_known_where_they_are_fixed():
    assert (small().input_shape, small().output_shape) == ((4,), (3,))
    image = pnn.Network([pnn.Rescaling(1 / 255), pnn.Flatten((2, 2)), dense(4, 1)])
    assert (image.input_shape, image.output_shape) == ((2, 2), (1,))
    anything = pnn.Network([pnn.Rescaling(2.0)])
    assert (anything.input_shape, anything.output_shape) == (None, None)


# Calling


@pytest.mark.parametrize("leading", [(), (6,), (2, 3), (1, 2, 3), (0,), (0, 2)], ids=str)
def test_any_leading_axes(backend, leading):
    net = small()
    numbers = X[: np.prod(leading, dtype=int)].reshape(*leading, 4)
    x = placed(backend, numbers, "float32")
    outputs = net(x)
    check_beside(outputs, x, x.dtype, (*leading, 3))
    wanted = forward(net, numbers)
    np.testing.assert_allclose(backend.to_numpy(outputs), wanted, rtol=0, atol=TOLERANCE["float32"])
    np.testing.assert_array_equal(predicted(net, backend, x), wanted.argmax(axis=-1))


@pytest.mark.parametrize(("n_in", "n_out"), [(4, 3), (300, 3), (2, 70_000)])
@pytest.mark.parametrize("samples", [(), (0,), (1,), (2,), (50,), (1000,), (1001,), (2, 3), (2, 50)], ids=str)
def test_numpy_adds_the_bias_to_every_sample(n_in, n_out, samples):
    if n_out * math.prod(samples) > 10**6:
        samples = (5,)
    weight, bias = RANDOM.normal(size=(n_in, n_out)), RANDOM.normal(size=n_out)
    x = RANDOM.normal(size=(*samples, n_in))
    before = x.copy()
    net = pnn.Network([pnn.Dense(weight, bias)])
    wanted = np.einsum("...i,ij->...j", x, weight) + bias
    for same in (x, np.asfortranarray(x), np.repeat(x, 2, axis=-1)[..., ::2]):
        np.testing.assert_allclose(net(same), wanted, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("of_weights", ["float32", "float64"])
@pytest.mark.parametrize("integer", ["int8", "uint8", "int32", "bool"])
def test_integers_are_cast_to_the_dtype_of_the_weights_where_the_device_has_it(backend, of_weights, integer):
    net = small(of_weights)
    numbers = np.array([[0, 1, 2, 100]]).astype(integer)
    x = backend.place(numbers)
    outputs = net(x)
    dtype = "float32" if backend.dtype_name(backend.dtype("float64")) != "float64" else of_weights
    check_beside(outputs, x, backend.dtype(dtype), (1, 3))
    np.testing.assert_allclose(backend.to_numpy(outputs), forward(net, numbers), rtol=0, atol=TOLERANCE[dtype])


def test_a_floating_input_decides_the_dtype(backend, dtype):
    x = placed(backend, X, dtype)
    for of_weights in ("float16", "float32", "float64"):
        outputs = small(of_weights)(x)
        check_beside(outputs, x, x.dtype, (6, 3))
        wanted = forward(small(of_weights), backend.to_numpy(x))
        np.testing.assert_allclose(backend.to_numpy(outputs), wanted, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("x", [None, {1.0}], ids=repr)
@pytest.mark.parametrize("call", [pnn.Network.__call__, pnn.Network.predict, pnn.Network.logits])
def test_what_is_no_array_is_refused(call, x):
    with pytest.raises(pnn.InputError, match=rf"got {type(x).__name__}: convert it first, with numpy\.asarray"):
        call(small(), x)


def test_complex_numbers_are_refused(backend):
    with pytest.raises(pnn.InputError, match=r"real numbers, got dtype .*complex64"):
        small()(backend.place(np.zeros(4, dtype=np.complex64)))


@pytest.mark.parametrize("dtype", [np.longdouble, "M8[s]", object, "U1"])
def test_other_dtypes_of_numpy_are_refused(dtype):
    with pytest.raises(pnn.InputError, match="got dtype "):
        small()(np.zeros(4, dtype=dtype))


def test_other_floats_of_pytorch_are_refused(torch):
    with pytest.raises(pnn.InputError, match=r"got dtype torch\.float8_e4m3fn"):
        small()(torch.zeros(4).to(torch.float8_e4m3fn))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((), r"takes arrays of shape \(\.\.\., 784\), got \(\)$"),
        ((783,), r"takes arrays of shape \(\.\.\., 784\), got \(783,\)$"),
        ((784, 100), r"got \(784, 100\): samples come first, transpose x"),
        ((784, 1), r"got \(784, 1\): samples come first, transpose x"),
        ((100, 28, 27), r"takes arrays of shape \(\.\.\., 784\), got \(100, 28, 27\)$"),
    ],
)
def test_an_input_of_another_shape(backend, shape, message):
    net = pnn.Network([pnn.Rescaling(1 / 255), dense(784, 10)])
    for call in (net, net.predict):
        with pytest.raises(pnn.ShapeError, match=message):
            call(backend.place(np.zeros(shape, dtype=np.float32)))


def test_flat_samples_where_images_are_wanted():
    net = pnn.Network([pnn.Flatten((2, 3)), dense(6, 1)])
    x = np.arange(30.0).reshape(5, 6)
    np.testing.assert_array_equal(net(x), net(x.reshape(5, 2, 3)))


# Labels


def test_a_saturated_sigmoid_does_not_tie(backend):
    net = pnn.Network([pnn.Dense(np.eye(3, dtype=np.float32), None, "sigmoid")])
    x = backend.place(np.array([[100, 300, 200], [-300, -200, -100]], dtype=np.float32))
    assert np.ptp(backend.to_numpy(net(x)[0, :])) == 0
    np.testing.assert_array_equal(predicted(net, backend, x), [1, 2])


@pytest.mark.parametrize(
    "activation", ["identity", "tanh", "leaky_relu", "elu", "softplus", "softmax", "log_softmax"]
)
def test_logits_are_taken_before_an_activation_that_keeps_the_order(backend, activation):
    net = pnn.Network([pnn.Dense(np.eye(3, dtype=np.float32), None, activation)])
    x = backend.place(np.array([[1000, 2000, -1000]], dtype=np.float32))
    np.testing.assert_array_equal(backend.to_numpy(net.logits(x)), [[1000, 2000, -1000]])
    np.testing.assert_array_equal(predicted(net, backend, x), [1])


@pytest.mark.parametrize(
    ("activation", "label"), [("relu", 0), ("step", 1), ("gelu", 1), ("gelu_tanh", 1), ("silu", 1)]
)
def test_an_activation_that_does_not_keep_the_order_counts(backend, activation, label):
    net = pnn.Network([pnn.Dense(np.eye(2, dtype=np.float32), None, activation)])
    x = backend.place(np.array([[-1, -0.0]] if activation == "step" else [[-3, -1e-8]], dtype=np.float32))
    values = backend.to_numpy(net(x))
    np.testing.assert_array_equal(predicted(net, backend, x), values.argmax(axis=-1))
    assert values.argmax() == label


def test_one_sigmoid_output_means_two_classes(backend):
    net = pnn.Network([pnn.Dense(np.ones((1, 1), dtype=np.float32), None, "sigmoid")])
    x = backend.place(np.array([[-1000], [-1e-6], [0], [1e-6], [1000]], dtype=np.float32))
    np.testing.assert_array_equal(predicted(net, backend, x), [0, 0, 1, 1, 1])
    np.testing.assert_array_equal(predicted(net, backend, x[4, :]), 1)


def test_labels_are_integers_beside_the_input(backend):
    if str(backend) == "array_api_strict:no_x64":
        pytest.skip("its argmax needs an int64 that it has not: labels are taken elsewhere, from net.logits(x)")
    x = placed(backend, X, "float32")
    labels = small().predict(x)
    check_place(labels, x)
    assert backend.xp.isdtype(labels.dtype, "signed integer")
    assert tuple(labels.shape) == (6,)


@pytest.mark.parametrize("activation", ["identity", "tanh", "relu", "softplus"])
def test_one_output_without_a_sigmoid_is_regression(activation):
    net = pnn.Network([dense(4, 1, activation)])
    for call in (net.predict, net.logits):
        with pytest.raises(pnn.NetworkError, match=r"is regression, which has no labels: call net\(x\)"):
            call(X)
    assert net(X).shape == (6, 1)


@pytest.mark.parametrize(("values", "words"), [(1, "is regression"), (0, "samples of no values")])
def test_labels_that_samples_of_one_shape_have_and_those_of_another_have_not(backend, values, words):
    if str(backend) == "array_api_strict:no_x64":
        pytest.skip("its argmax needs an int64 that it has not: labels are taken elsewhere, from net.logits(x)")
    net = pnn.Network([pnn.Rescaling(2.0)])
    three = placed(backend, X[:, :3], "float32")
    one = placed(backend, X[:, :values], "float32")
    for _ in range(2):
        with pytest.raises(pnn.NetworkError, match=words):
            backend.to_numpy(net.predict(one))
        assert net.predict(three).shape == (6,)


@pytest.mark.parametrize("shape", [(1, 4), (1, 1, 4), (2, 2), (1, 2, 2)], ids=str)
@pytest.mark.parametrize("leading", [(), (1,), (3,), (1, 3), (3, 1)], ids=str)
def test_samples_of_several_axes(backend, shape, leading):
    net = pnn.Network([pnn.Flatten(shape), *small().layers])
    x = RANDOM.normal(size=(*leading, *shape)).astype(np.float32)
    outputs = backend.to_numpy(net(backend.place(x)))
    assert outputs.shape == (*leading, 3)
    np.testing.assert_allclose(outputs, forward(small(), x.reshape(*leading, 4)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("activation", ["sigmoid", "silu", "gelu", "gelu_tanh"])
@pytest.mark.parametrize("shape", [(4,), (1, 4), (2, 2)], ids=str)
@pytest.mark.parametrize("leading", [(), (1,), (3,), (2, 3)], ids=str)
def test_large_numbers_do_not_warn(activation, shape, leading):
    net = pnn.Network([pnn.Flatten(shape), pnn.Dense(np.eye(4, dtype=np.float32), None, activation), dense(4, 2)])
    assert not np.isnan(net(np.full((*leading, *shape), -1e30, dtype=np.float32))).any()


@pytest.mark.parametrize("last", [pnn.Flatten((3,)), pnn.Rescaling(1.0), pnn.Rescaling(2.0)], ids=repr)
@pytest.mark.parametrize("activation", ["softmax", "leaky_relu"])
def test_logits_are_the_same_whoever_holds_the_weights(torch, activation, last):
    net = pnn.Network([pnn.Dense(W2, B2, activation), last])
    own = pnn.Network(layer.map(torch.tensor) for layer in net.layers)
    x = RANDOM.normal(size=(7, 5))
    np.testing.assert_allclose(net.logits(x), own.logits(torch.tensor(x)), rtol=1e-12)
    np.testing.assert_allclose(net.logits(x), pnn.placing.plain(net.layers, x, "logits"), rtol=1e-12)


def test_what_changes_nothing_after_a_sigmoid_leaves_its_labels():
    net = pnn.Network([pnn.Dense(np.ones((2, 1)), None, "sigmoid"), pnn.Rescaling(1.0)])
    np.testing.assert_array_equal(net.predict(np.array([[1.0, 1], [-1, -1]])), [1, 0])


def test_a_layer_that_is_not_there():
    net = pnn.Network([pnn.Activation("relu"), pnn.Activation("tanh")])
    assert net[-1] == net.layers[1]
    with pytest.raises(IndexError, match="there is no layer 2: the network has 2, from 0 on"):
        net[2]


def test_a_layer_alone_is_no_list_of_layers():
    with pytest.raises(pnn.NetworkError, match=r"takes its layers in a list, got Dense\(2, 2"):
        pnn.Network(dense(2, 2))


# Placement


def test_a_bound_network_gives_what_it_gave(backend):
    net, x = small(), placed(backend, X, "float32")
    bound = net.to(backend)
    assert bound.backend == backend
    assert bound.dtype == net.dtype == "float32"
    np.testing.assert_array_equal(backend.to_numpy(bound(x)), backend.to_numpy(net(x)))
    check_beside(bound(x), x, x.dtype, (6, 3))
    for array, original in zip(weights(bound.to_numpy()), weights(net), strict=True):
        assert isinstance(array, np.ndarray)
        np.testing.assert_array_equal(array, original, strict=True)
    assert bound.to_numpy().backend is None


def test_a_bound_network_takes_the_dtype_of_the_input(backend, dtype):
    x = placed(backend, X, dtype)
    outputs = small().to(backend)(x)
    check_beside(outputs, x, x.dtype, (6, 3))
    wanted = forward(small(), backend.to_numpy(x))
    np.testing.assert_allclose(backend.to_numpy(outputs), wanted, rtol=0, atol=TOLERANCE[dtype])


def test_a_bound_network_casts_integers_to_the_dtype_of_its_weights(backend):
    numbers = np.array([[0, 1, 2, 100]], dtype=np.uint8)
    x = backend.place(numbers)
    outputs = small().to(backend)(x)
    check_beside(outputs, x, backend.xp.float32, (1, 3))
    np.testing.assert_allclose(backend.to_numpy(outputs), forward(small(), numbers), rtol=0, atol=1e-5)


@pytest.mark.parametrize("spec", ["numpy", "array_api_strict:device2"])
def test_a_bound_network_refuses_arrays_of_another_library_or_device(backend, spec):
    pytest.importorskip("array_api_strict", reason="pip install array-api-strict")
    came = pnn.backends.get(spec)
    if came == backend:
        came = pnn.backends.get("array_api_strict:device1")
    bound = small().to(backend)
    message = (
        rf"the network is bound to {backend}, and the input is on {came}: "
        rf"call net\.to\('{came}'\), or bring the input to {backend}"
    )
    for call in (bound, bound.predict):
        with pytest.raises(pnn.PlacementError, match=message):
            call(placed(came, X, "float32"))
    assert bound.to(str(came))(placed(came, X, "float32")).shape == (6, 3)


def test_a_network_placed_where_there_is_no_float64_takes_the_default_float(array_api_strict):
    assert small(np.float64).to("array_api_strict:no_float64").dtype == "float32"
    assert small(np.float64).to("array_api_strict:device1").dtype == "float64"


def test_weights_of_two_libraries_make_no_network(torch, array_api_strict):
    layers = [pnn.Dense(torch.ones(4, 5)), pnn.Dense(array_api_strict.ones((5, 3)))]
    message = "weights are on torch:cpu and array_api_strict:CPU_DEVICE: bring them to one library and device"
    with pytest.raises(pnn.NetworkError, match=message):
        pnn.Network(layers)


def test_weights_on_two_devices_make_no_network(array_api_strict):
    devices = [array_api_strict.Device("device1"), array_api_strict.Device("device2")]
    layers = [
        pnn.Dense(array_api_strict.ones((2, 2), dtype=array_api_strict.float32, device=device))
        for device in devices
    ]
    with pytest.raises(pnn.NetworkError, match="on array_api_strict:device1 and array_api_strict:device2"):
        pnn.Network(layers)


def test_weights_join_those_of_another_library(torch):
    net = pnn.Network([pnn.Rescaling(np.full(4, 0.5)), pnn.Dense(torch.ones(4, 5, dtype=torch.float64))])
    assert str(net.backend) == "torch:cpu"
    x = torch.from_numpy(X)
    torch.testing.assert_close(net(x), 0.5 * x @ torch.ones(4, 5, dtype=torch.float64))


def test_a_layer_of_weights_in_two_libraries_makes_no_network(torch, array_api_strict):
    with pytest.raises(pnn.NetworkError, match="weights are on torch:cpu and array_api_strict:CPU_DEVICE"):
        pnn.Network([pnn.Dense(torch.ones(4, 5), array_api_strict.zeros(5))])


# Other dtypes


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_astype(dtype):
    net = small().astype(dtype)
    assert net.dtype == dtype
    assert {array.dtype for array in weights(net)} == {np.dtype(dtype)}
    assert net.same_architecture(small())
    assert net(np.zeros(4, dtype=np.uint8)).dtype == dtype


def test_astype_where_the_network_is(backend, dtype):
    net = small().to(backend).astype(dtype)
    assert net.backend == backend
    assert net.dtype == dtype
    x = backend.place(np.zeros((1, 4), dtype=np.uint8))
    check_beside(net(x), x, backend.dtype(dtype), (1, 3))


def test_astype_of_weights_of_ones_own(backend, dtype):
    rounded = small().astype("float32")
    net = pnn.Network(layer.map(backend.place) for layer in rounded.layers).astype(dtype)
    for array in weights(net):
        check_place(array, backend.place(np.zeros(1, np.float32)))
        assert array.dtype == backend.dtype(dtype)
    assert net.dtype == dtype
    found = backend.to_numpy(net(placed(backend, np.ones((2, 4)), dtype)))
    np.testing.assert_allclose(found, forward(rounded, np.ones((2, 4))), rtol=0, atol=TOLERANCE[dtype])


def test_astype_refuses():
    with pytest.raises(pnn.NetworkError, match="unknown dtype 'int8': choose one of float16, bfloat16, float32"):
        small().astype("int8")
    with pytest.raises(pnn.NetworkError, match=r"numpy has no bfloat16: place the network elsewhere first"):
        small().astype("bfloat16")


def test_astype_refuses_what_a_device_has_not(array_api_strict):
    with pytest.raises(pnn.NetworkError, match=r"array_api_strict:no_float64 has no float64"):
        small().to("array_api_strict:no_float64").astype("float64")


# What a network says and is


def test_summary():
    image = pnn.Network([pnn.Rescaling(1 / 255), pnn.Flatten((2, 2)), dense(4, 10, "relu"), dense(10, 2)])
    assert image.summary().splitlines() == [
        "layer                     output  parameters  bytes",
        "Rescaling(0.00392157, 0)  (2, 2)           0      0",
        "Flatten((2, 2))             (4,)           0      0",
        "Dense(4, 10, 'relu')       (10,)          50    400",
        "Dense(10, 2, 'identity')    (2,)          22    176",
        "total (float64)                           72    576",
    ]
    assert "  any  " in pnn.Network([pnn.Rescaling(2.0)]).summary()


def test_repr(backend):
    net = small()
    assert repr(net) == str(net) == net.summary()
    bound = net.to(backend)
    assert repr(bound).splitlines() == [*bound.summary().splitlines(), f"bound to {backend}"]
    assert repr(bound.compile()).splitlines()[-2:] == [f"bound to {backend}", "compiled"]


def test_same_architecture(backend):
    net = small()
    assert net.same_architecture(small(np.float64))
    assert net.same_architecture(net.to(backend))
    with pytest.raises(pnn.InputError, match="got list: load one"):
        net.same_architecture([*net.layers])
    assert not net.same_architecture(pnn.Network(net.layers[:2]))
    assert not net.same_architecture(pnn.Network([pnn.Rescaling(0.5), *net.layers[1:]]))
    assert not net.same_architecture(pnn.Network([*net.layers[:2], net.layers[2].with_activation("identity")]))
    assert not pnn.Network([pnn.Flatten((2, 3))]).same_architecture(pnn.Network([pnn.Flatten((3, 2))]))


def test_equality_is_identity():
    net = small()
    assert net == net
    assert net != small()
    assert len({net, net, small()}) == 2


def test_a_network_is_frozen():
    for name in ("layers", "backend", "compiled", "meaning", "classes", "other"):
        way = r"net\.described\(classes=…\)$" if name == "classes" else r"pnn\.Network\(\[…\]\)"
        with pytest.raises(dataclasses.FrozenInstanceError, match=f"{name} stays: make another by {way}"):
            setattr(small(), name, None)
        with pytest.raises(dataclasses.FrozenInstanceError):
            delattr(small(), name)


def duplicates(net):
    return [copy.copy(net), copy.deepcopy(net), *(pickle.loads(pickle.dumps(net, i)) for i in (2, 5))]


def test_pickle_and_copy(backend):
    x = placed(backend, X, "float32")
    for net in (small(), small().to(backend)):
        outputs = backend.to_numpy(net(x))
        for duplicate in duplicates(net):
            assert duplicate.same_architecture(net)
            assert duplicate.backend == net.backend
            assert duplicate.dtype == net.dtype
            np.testing.assert_array_equal(backend.to_numpy(duplicate(x)), outputs)


def test_the_cache_of_placed_weights_is_not_pickled(backend):
    net = small()
    before = pickle.dumps(net)
    net(placed(backend, X, "float32"))
    assert pickle.dumps(net) == before


def test_a_network_without_weights_stays_bound(backend):
    net = pnn.Network([pnn.Rescaling(0.5)]).to(backend)
    assert [duplicate.backend for duplicate in duplicates(net)] == [backend] * 4


@pytest.mark.parametrize(
    "other",
    [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)), lambda net: net.astype("float64"),
     lambda net: net.to("numpy").to_numpy()],
    ids=["copy", "deepcopy", "pickle", "astype", "to_numpy"],
)  # fmt: skip
def test_the_weights_of_a_network_that_follows_its_input_are_read_only(other):
    net = other(small())
    assert net.backend is None
    assert not any(array.flags.writeable for array in weights(net))


# Any architecture

ACTIVATIONS = ("identity", "step", "sigmoid", "tanh", "relu", "softplus", "softmax", "log_softmax")
NUMBERS = st.integers(-16, 16).map(lambda n: n / 8)  # exact in every dtype, so that steps fall alike


@st.composite
def networks(draw):
    """A network whose samples are vectors, or images that are flattened first."""
    width = draw(st.sampled_from([1, 2, 6]))
    layers = [pnn.Flatten((width, 1))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0 if layers else 1, 3))):
        if draw(st.booleans()):
            per_feature = arrays(np.float32, width, elements=NUMBERS)
            layers.append(pnn.Rescaling(draw(NUMBERS | per_feature), draw(NUMBERS | per_feature)))
            continue
        new = draw(st.sampled_from([1, 3, 4]))
        weight = draw(arrays(np.float64, (width, new), elements=NUMBERS))
        bias = draw(st.none() | arrays(np.float32, new, elements=NUMBERS))
        layers.append(pnn.Dense(weight, bias, draw(st.sampled_from(ACTIVATIONS))))
        width = new
    return pnn.Network(layers)


@given(net=networks(), data=st.data())
@settings(deadline=None, max_examples=15)
@pytest.mark.dtypes("float32", "float64")
def test_any_architecture(backend, dtype, net, data):
    shape = (*data.draw(st.sampled_from([(), (2,), (1, 3)])), *(net.input_shape or (2,)))
    numbers = data.draw(arrays(np.float32, shape, elements=NUMBERS))
    x = placed(backend, numbers, dtype)
    wanted = forward(net, numbers)
    outputs = net(x)
    check_beside(outputs, x, x.dtype, wanted.shape)
    scale = np.maximum(1, np.abs(wanted))
    np.testing.assert_array_less(np.abs(backend.to_numpy(outputs) - wanted), TOLERANCE[dtype] * 10 * scale)
