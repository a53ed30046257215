"""The layers: what they refuse, what they keep, and their forward pass on every backend."""

import dataclasses
from functools import partial

import numpy as np
import pytest
from helpers import TOLERANCE, check_beside, forward, placed

import portable_nn as pnn
from portable_nn.activations import PLAIN
from portable_nn.layers import standardized
from portable_nn.placing import plain

WEIGHT = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(3),), r"weight must have shape \(n_in, n_out\) with no axis of length 0, got \(3,\)"),
        ((np.ones((1, 2, 3)),), r"weight must have shape \(n_in, n_out\) .* got \(1, 2, 3\)$"),
        ((784, 50), r"got \(\): a layer is made of its weights, not of its sizes$"),
        ((np.eye(2), "relu"), "bias must be numbers, got 'relu': give activation='relu'"),
        ((np.ones((0, 3)),), r"with no axis of length 0, got \(0, 3\)"),
        ((np.ones((3, 0)),), r"with no axis of length 0, got \(3, 0\)"),
        ((WEIGHT, np.ones(2)), r"weight of shape \(2, 3\) takes a bias of shape \(3,\), got \(2,\)"),
        ((WEIGHT, np.ones((1, 3))), r"takes a bias of shape \(3,\), got \(1, 3\)"),
        ((WEIGHT, np.ones(3), "sigmoi"), "unknown activation 'sigmoi' .*: choose one of " + ", ".join(PLAIN)),
        ((WEIGHT, np.ones(3), [WEIGHT]), "unknown activation .*: choose one of absolute, celu"),
        ((WEIGHT + np.nan,), "Dense: weight has 6 nan of 6 values: was training stable"),
        ((WEIGHT, np.array([0, np.nan, 0])), "Dense: bias has 1 nan of 3 values"),
        ((WEIGHT * 1j,), "Dense: weight must be real numbers, got dtype complex128"),
        ((WEIGHT, np.array(["a", "b", "c"])), "Dense: bias must be real numbers, got dtype <U1"),
    ],
)
def test_dense_refuses(arguments, message):
    with pytest.raises(pnn.NetworkError, match=message):
        pnn.Dense(*arguments)


def test_a_module_is_a_dense_by_name_alone(torch):
    module = torch.nn.Linear(3, 2)
    with pytest.raises(pnn.NetworkError, match=r"got a module for weight: call Dense\.from_linear\(module\)"):
        pnn.Dense(module)
    x = torch.ones(4, 3)
    for arguments, wanted in (
        ((module,), module(x)),
        ((module, torch.ones(2)), x @ module.weight.T + 1),
        ((torch.nn.Linear(3, 2, bias=False).requires_grad_(False),), None),
    ):
        layer = pnn.Dense.from_linear(*arguments)
        found = pnn.Network([layer])(x)
        torch.testing.assert_close(found, arguments[0](x) if wanted is None else wanted)
    pnn.Network([pnn.Dense.from_linear(module)])(x).sum().backward()
    assert module.weight.grad is not None


def test_linear_weights_may_be_lists():
    np.testing.assert_array_equal(pnn.Dense.from_linear([[1.0, 2.0, 3.0]], [4.0]).weight, [[1], [2], [3]])


@pytest.mark.parametrize("weight", [np.ones(3), np.ones((1, 2, 3)), 3.0], ids=np.shape)
def test_a_linear_weight_has_two_axes(weight):
    with pytest.raises(pnn.NetworkError, match=r"from_linear takes a weight of shape \(n_out, n_in\), got \("):
        pnn.Dense.from_linear(weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((float("nan"),), "Rescaling: scale is nan"),
        ((1.0, np.float32("nan")), "Rescaling: offset is nan"),
        ((np.ones((2, 2)),), r"scale must be a number or an array of shape \(n,\), got \(2, 2\)"),
        ((1.0, np.array(1.0)), r"offset must be a number or an array of shape \(n,\), got \(\)"),
        ((np.ones(2), np.ones(3)), r"scale of shape \(2,\) and offset of shape \(3,\) differ"),
        ((np.array([1, np.nan]),), "Rescaling: scale has 1 nan of 2 values"),
        ((np.array([1j]),), "Rescaling: scale must be real numbers, got dtype complex128"),
    ],
)
def test_rescaling_refuses(arguments, message):
    with pytest.raises(pnn.NetworkError, match=message):
        pnn.Rescaling(*arguments)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("elu", {"alpha": np.inf}, "alpha of elu is infinite"),
        ("elu", {"alpha": [1, -np.inf]}, "alpha of elu is infinite"),
        ("elu", {"alpha": 10**400}, "alpha is larger than any float"),
        ("softplus", {"beta": 0}, "beta of softplus is 0"),
        ("celu", {"alpha": [0, 1]}, "alpha of celu is 0"),
        ("clip", {"low": 2, "high": 1}, "low of clip is above high"),
        ("hard_tanh", {"low": [0, 2], "high": [1, 1]}, "low of hard_tanh is above high"),
        (np.tanh, {}, "which is no name .did you mean 'tanh'"),
        ("prelu", {"slope": [[1.0]]}, r"slope must be a number or an array of shape \(n,\), got \(1, 1\)"),
        ("relu", {"slope": 1}, "relu has no parameter slope: it has none"),
        ("elu", {"slope": 1, "gain": 2}, "elu has no parameter gain, slope: choose from alpha"),
        (
            "clip",
            {"low": [0, 0], "high": [1, 1, 1]},
            r"parameters of clip have lengths that differ: \[\(2,\), \(3",
        ),
    ],
)
def test_activation_refuses(name, parameters, message):
    with pytest.raises(pnn.NetworkError, match=message):
        pnn.Activation(name, **parameters)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 2)),), r"Normalize: scale must have shape \(n,\), got \(2, 2\)"),
        ((None, np.array([])), r"Normalize: offset must have shape \(n,\), got \(0,\)"),
        ((np.ones(2), np.ones(3)), r"scale of shape \(2,\) and offset of shape \(3,\) differ"),
        ((None, None, -1e-9), "epsilon must be a number that is not negative, got -1e-09"),
        ((None, None, np.inf), "epsilon must be a number that is not negative, got inf"),
        ((None, None, "small"), "epsilon must be a number that is not negative, got 'small'"),
    ],
)
def test_normalize_refuses(arguments, message):
    with pytest.raises(pnn.NetworkError, match=message):
        pnn.Normalize(*arguments)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(
    ("given", "epsilon"), [((), 0.0), (("scale",), 0.25), (("offset",), 1e-5), (("scale", "offset"), 0.5)]
)
def test_normalize_is_that_of_pytorch(backend, dtype, given, epsilon, centred):
    torch = pytest.importorskip("torch", reason="the oracle: pip install torch")
    affine = {name: np.array([0.5, -2.0, 1.25]) + len(name) for name in given}
    net = pnn.Network([pnn.Normalize(**affine, epsilon=epsilon, centred=centred)])
    assert net.layers[0].options == {"epsilon": epsilon, "centred": centred}
    for shape in ((3,), (4, 3), (2, 4, 3)):
        x = placed(backend, 3 * np.sin(np.arange(np.prod(shape))).reshape(shape) + 1, dtype)
        exact, scale, offset = (
            None if array is None else torch.from_numpy(np.asarray(array, np.float64))
            for array in (backend.to_numpy(x), affine.get("scale"), affine.get("offset"))
        )
        if centred:
            wanted = torch.nn.functional.layer_norm(exact, (3,), scale, offset, epsilon)
        else:
            wanted = torch.nn.functional.rms_norm(exact, (3,), scale, epsilon) + (0 if offset is None else offset)
        layer = net.layers[0].map(lambda array: placed(backend, array, dtype))
        for outputs in (net(x), backend.entered(partial(layer, xp=backend.xp))(x)):
            check_beside(outputs, x, x.dtype, shape)
            found = backend.to_numpy(outputs).astype(np.float64)
            np.testing.assert_allclose(found, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_normalize_of_any_length_before_a_scale(backend):
    """The scale is not folded into weights whose number is not known."""
    net = pnn.Network([pnn.Normalize(), pnn.Rescaling(2.0, 1.0)])
    for n in (5, 3):
        x = np.arange(2.0 * n).reshape(2, n) ** 2
        found = backend.to_numpy(net(placed(backend, x, "float32")))
        np.testing.assert_allclose(found, 2 * plain(net.layers[:1], x) + 1, rtol=1e-5)


@pytest.mark.parametrize(("mean", "deviation"), [(16.0, 2.0), (-16.0, 2.0), (0.0, 1e-3), (-8.0, -1.0)])
def test_what_is_standardised_by_one_layer(mean, deviation):
    (layer,) = standardized(mean, deviation)
    x = np.array([-3.0, 0.0, 18.0])
    np.testing.assert_allclose(layer(x, np), (x - mean) / deviation, rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("mean", [16.001, -16.001, 1e9])
def test_a_mean_of_many_deviations_is_subtracted_first(mean):
    first, second = standardized(np.array([mean, 0.0]), np.array([2.0, 0.5]))
    x = np.array([mean + 3.0, 3.0])
    np.testing.assert_array_equal(first(x, np), x - [mean, 0])
    np.testing.assert_array_equal(second(first(x, np), np), (x - [mean, 0]) / [2, 0.5])


@pytest.mark.parametrize("deviation", [0.0, np.nan, np.array([1.0, 0.0])])
def test_nothing_is_divided_by_a_deviation_of_0(deviation):
    with pytest.raises(pnn.NetworkError, match="a deviation to divide by is 0 or nan"):
        standardized(1.0, deviation)


def test_standardising_keeps_the_dtype():
    (layer,) = standardized(np.float32([1, 2]), np.float32([2, 4]))
    assert {array.dtype for array in layer.arrays.values()} == {np.dtype(np.float32)}
    (layer,) = standardized(np.array([1, 2]), np.float32([2, 4]))
    assert {array.dtype for array in layer.arrays.values()} == {np.dtype(np.float64)}


@pytest.mark.parametrize("times", [1, 3])
def test_glu_before_what_takes_one_shape(torch, times):
    """As many values as it halves, so that it may come first."""
    linear = torch.nn.Linear(3, 2).double()
    module = torch.nn.Sequential(*[torch.nn.GLU() for _ in range(times)], linear)
    net = pnn.from_torch(module)
    assert (net.input_shape, net.output_shape) == ((3 * 2**times,), (2,))
    x = np.random.default_rng(0).normal(size=(4, 3 * 2**times))
    np.testing.assert_allclose(net(x), module(torch.asarray(x)).detach().numpy(), rtol=1e-12)
    with pytest.raises(pnn.ShapeError, match=rf"shape \(\.\.\., {3 * 2**times}\), got \(4, 3\)"):
        net(x[:, :3])


def test_more_glu_than_values():
    layers = [pnn.Activation("glu")] * 20_000
    with pytest.raises(pnn.NetworkError, match="20000 times glu halves the values of a sample: no array has so"):
        pnn.Network([*layers, pnn.Dense(np.ones((3, 2)))])


def test_glu_halves_the_last_axis_of_a_sample():
    for shape in ((6,), (5, 6), (2, 5, 6)):
        wanted = pnn.activations.glu(np.ones(shape)).shape
        assert pnn.Activation("glu").output_shape(shape) == (*shape[:-1], 3) == wanted
    with pytest.raises(pnn.NetworkError, match="one half of the values by the other, got 5 values"):
        pnn.Activation("glu").output_shape((6, 5))


def test_what_is_halved_has_twice_the_values_of_the_next_layer():
    net = pnn.Network([pnn.Activation("glu"), pnn.Rescaling(2.0), pnn.Activation("glu"), pnn.Dense(np.eye(2))])
    assert net.input_shape == (8,)
    assert net(np.ones((3, 8))).shape == (3, 2)
    with pytest.raises(pnn.ShapeError, match=r"takes arrays of shape \(\.\.\., 8\)"):
        net(np.ones((3, 2)))


def test_limits_may_be_infinite():
    for limits in ({"low": 0, "high": np.inf}, {"low": -np.inf, "high": 1}):
        assert pnn.Activation("clip", **limits).parameters == limits


@pytest.mark.parametrize("shape", [(), (28, 0), (-1,), "28x28", 28, None, (None, 3)], ids=repr)
def test_flatten_refuses(shape):
    with pytest.raises(pnn.NetworkError, match=r"positive lengths such as \(28, 28\), got "):
        pnn.Flatten(shape)


@pytest.mark.parametrize("layer", [pnn.Dense, pnn.Rescaling])
def test_lists_of_no_numbers_are_refused_as_weights(layer):
    with pytest.raises(pnn.InputError, match="got a list of str: give numbers"):
        layer([["1.0", "2.0"]])


def test_integer_weights_of_another_library_are_refused(backend):
    if backend.name == "numpy":
        assert pnn.Dense(WEIGHT.astype(np.int32)).weight.dtype == np.float64
        return
    with pytest.raises(pnn.NetworkError, match=r"Dense: weight must be floating, got dtype .*int32: cast it"):
        pnn.Dense(backend.place(WEIGHT.astype(np.int32)))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64"])
def test_numpy_integers_become_float64(dtype):
    layer = pnn.Dense(WEIGHT.astype(dtype), np.zeros(3, dtype=dtype))
    assert {array.dtype for array in layer.arrays.values()} == {np.dtype(np.float64)}
    np.testing.assert_array_equal(layer.weight, WEIGHT.astype(dtype))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_floating_weights_keep_their_dtype_in_native_order(dtype):
    layer = pnn.Dense(WEIGHT.astype(dtype))
    assert layer.weight.dtype == np.dtype(dtype).newbyteorder("=")
    assert layer.bias.dtype == layer.weight.dtype
    np.testing.assert_array_equal(layer.weight, WEIGHT)


def test_a_missing_bias_is_zeros_beside_the_weight(backend):
    weight = backend.place(WEIGHT.astype(np.float32))
    layer = pnn.Dense(weight)
    check_beside(layer.bias, weight, weight.dtype, (3,))
    np.testing.assert_array_equal(backend.to_numpy(layer.bias), 0)


def test_weights_that_are_strings():
    with pytest.raises(pnn.PortableNNError, match=r"StringDType"):
        pnn.Dense(np.array([["a"]], dtype=np.dtypes.StringDType()))


def test_weights_of_a_dtype_in_which_no_network_computes():
    with pytest.raises(pnn.PortableNNError, match=r"got dtype (longdouble|float128|float96)"):
        pnn.Network([pnn.Dense(WEIGHT.astype(np.longdouble))])


def test_the_callers_arrays_are_copied():
    weight, bias, scale = WEIGHT.copy(), np.ones(3), np.ones(2)
    net = pnn.Network([pnn.Rescaling(scale, scale), pnn.Dense(weight, bias, "tanh")])
    x = np.ones((4, 2))
    before = net(x)
    for array in (weight, bias, scale):
        array[...] = 9
    np.testing.assert_array_equal(net(x), before)
    np.testing.assert_array_equal(net(x.astype(np.float32)), forward(net, x).astype(np.float32))


def test_weights_are_read_only():
    for layer in (pnn.Dense(WEIGHT, np.ones(3)), pnn.Rescaling(np.ones(2), np.ones(2))):
        for array in layer.arrays.values():
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0


def test_weights_of_another_library_are_kept_as_they_are(torch):
    weight, bias = torch.nn.Parameter(torch.ones(2, 3)), torch.zeros(3)
    layer = pnn.Dense(weight, bias)
    assert layer.weight is weight
    assert layer.bias is bias


@pytest.mark.parametrize(
    "layer", [pnn.Dense(WEIGHT), pnn.Rescaling(2.0), pnn.Flatten((2, 2))], ids=lambda layer: type(layer).__name__
)
def test_layers_are_frozen(layer):
    for field in dataclasses.fields(layer):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(layer, field.name, None)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (pnn.Dense(WEIGHT, None, "relu"), "Dense(2, 3, 'relu')"),
        (pnn.Rescaling(1 / 255, -1), "Rescaling(0.00392157, -1)"),
        (pnn.Rescaling(np.float32(2), np.zeros(3)), "Rescaling(2, <3 values>)"),
        (pnn.Flatten([28, 28]), "Flatten((28, 28))"),
    ],
)
def test_repr(layer, text):
    assert repr(layer) == text


LEADING = [(), (5,), (2, 3), (0,), (2, 0)]


@pytest.mark.parametrize("layer", [
    pnn.Dense(WEIGHT / 9, np.array([0.1, -0.2, 0.3]), "softmax"),
    pnn.Rescaling(0.5, -1),
    pnn.Rescaling(np.array([2.0, 0.5]), 1),
    pnn.Rescaling(0.5, np.array([1.0, -1.0])),
    pnn.Rescaling(np.array([2.0, 0.5]), np.array([1.0, -1.0])),
    pnn.Flatten((2,)),
], ids=repr)  # fmt: skip
@pytest.mark.dtypes("float32", "float64")
def test_forward_with_any_leading_axes(backend, dtype, layer):
    net = pnn.Network([layer])
    for leading in LEADING:
        numbers = np.sin(np.arange(2 * np.prod(leading, dtype=int))).reshape(*leading, 2)
        x = placed(backend, numbers, dtype)
        wanted = forward(net, numbers)
        outputs = net(x)
        check_beside(outputs, x, x.dtype, wanted.shape)
        np.testing.assert_allclose(backend.to_numpy(outputs), wanted, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("shape", [(2, 3), (1, 2, 3), (6,)], ids=str)
def test_flatten_keeps_the_axes_before_a_sample(backend, shape):
    net = pnn.Network([pnn.Flatten(shape)])
    for leading in LEADING:
        numbers = np.arange(np.prod((*leading, *shape), dtype=np.float32)).reshape(*leading, *shape)
        x = backend.place(numbers.astype(np.float32))
        outputs = net(x)
        check_beside(outputs, x, x.dtype, (*leading, 6))
        np.testing.assert_array_equal(backend.to_numpy(outputs), numbers.reshape(*leading, 6))
