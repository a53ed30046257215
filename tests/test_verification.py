"""Files that prove themselves, and networks that are tried on a backend."""

import json

import numpy as np
import pytest
import safetensors.numpy
from helpers import EPSILON, SMALLEST_NORMAL

import portable_nn as pnn
from portable_nn.verification import excess, expected, samples_of

RNG = np.random.default_rng(5)
NET = pnn.Network(
    [
        pnn.Rescaling(0.1, -5.0),
        pnn.Dense(RNG.normal(size=(6, 6)), RNG.normal(size=6), "tanh"),
        pnn.Normalize(RNG.normal(size=6), RNG.normal(size=6)),
        pnn.Dense(RNG.normal(size=(6, 6)), RNG.normal(size=6), "relu"),
        pnn.Dense(RNG.normal(size=(6, 2)), RNG.normal(size=2)),
    ]
)


@pytest.fixture
def changed(tmp_path):
    """A saved network with one tensor, or its architecture, changed afterwards."""

    def change(name=None, how=None, *, old="", new=""):
        path = tmp_path / "net.safetensors"
        pnn.save(NET, path)
        tensors = safetensors.numpy.load_file(path)
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata()
        if name:
            tensors[name] = np.ascontiguousarray(how(tensors[name]))
        metadata["architecture"] = metadata["architecture"].replace(old, new) if old else metadata["architecture"]
        safetensors.numpy.save_file(tensors, path, metadata)
        return path

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"name": "1.weight", "how": np.transpose}, r"layer 1: its weight is transposed"),
        ({"old": '"tanh"', "new": '"sigmoid"'}, r"layer 1: its activation is sigmoid, and was tanh"),
        ({"name": "4.bias", "how": lambda bias: bias + 0.01}, r"up to 1.0e-02 off what the file says: fetch"),
        ({"name": "3.weight", "how": lambda weight: weight[::-1]}, "off what the file says"),
    ],
)
def test_a_file_that_was_changed_is_found_out(changed, change, match):
    path = changed(**change)
    with pytest.raises(pnn.AccuracyError, match=match):
        pnn.load(path)
    pnn.load(path, verify=False)


def test_a_file_that_was_not_is_read(changed):
    assert pnn.load(changed()).same_architecture(NET)


@pytest.mark.parametrize(
    ("name", "how", "match"),
    [
        ("samples.inputs", lambda x: x[:, :5], "its samples do not fit"),
        ("samples.outputs", lambda y: y[:2], r"inputs and outputs of shapes \(4, 6\), \(2, 2\), wanted as many"),
        ("samples.outputs", lambda y: y[:, :1], "inf off"),
        ("samples.outputs", lambda y: y * np.nan, "inf off"),
    ],
)
def test_samples_that_do_not_fit(changed, name, how, match):
    with pytest.raises(pnn.PortableNNError, match=match):
        pnn.load(changed(name, how))


def test_the_samples_are_those_that_the_network_is_made_for(tmp_path):
    """A network of temperatures around 50: samples around 0 would saturate it and prove nothing."""
    pnn.save(NET, tmp_path / "net.safetensors")
    inputs = safetensors.numpy.load_file(tmp_path / "net.safetensors")["samples.inputs"]
    assert inputs.shape == (4, 6)
    assert 40 < inputs.mean() < 60
    pnn.save(NET.described(input_range=(2, 3)), tmp_path / "net.safetensors")
    inputs = safetensors.numpy.load_file(tmp_path / "net.safetensors")["samples.inputs"]
    assert 2 <= inputs.min() < inputs.max() <= 3


def saved_tensors(net, path):
    """A saved network's tensors, and what writes them again with some changed."""
    pnn.save(net, path)
    tensors = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, framework="np") as file:
        metadata = file.metadata()
    return tensors, lambda **changed: safetensors.numpy.save_file(tensors | changed, path, metadata)


def standardizing(kind, mean, deviation):
    """The first layers of a network whose features have these means and deviations."""
    match kind:
        case "rescaling":
            return [pnn.Rescaling(1 / deviation, -mean / deviation)]
        case "flat":
            return [pnn.Flatten((2, 3)), pnn.Rescaling(1 / deviation, -mean / deviation)]
        case "two":
            return [pnn.Rescaling(1.0, -mean), pnn.Rescaling(1 / deviation, 0.0 * mean)]


@pytest.mark.parametrize("kind", ["rescaling", "flat", "two"])
@pytest.mark.parametrize("size", [*(10.0 ** np.arange(-6, 7, 2)), "each its own"])
def test_features_of_any_size_prove_a_network(tmp_path, kind, size):
    """Where it standardizes them itself, no unit is saturated, and what is changed is found out."""
    random = np.random.default_rng(1)
    sizes = 10 ** random.uniform(-6, 6, 6) if isinstance(size, str) else np.full(6, size)
    mean, deviation = 3 * sizes * random.uniform(-1, 1, 6), sizes * random.uniform(0.5, 2, 6)
    square = random.normal(size=(6, 6)) / 6**0.5
    layers = [*standardizing(kind, mean, deviation), pnn.Dense(square, None, "tanh"), pnn.Dense(np.ones((6, 1)))]
    for given in ({}, {"input_range": (-1e9, 1e9)}):
        net = pnn.Network(layers, **given).astype("float32")
        path = tmp_path / "net.safetensors"
        tensors, write = saved_tensors(net, path)
        hidden = net[:-1](tensors["samples.inputs"])
        assert np.std(hidden) > 0.1
        assert np.abs(hidden).max() < 0.9999
        pnn.load(path)
        name = f"{len(layers) - 2}.weight"
        write(**{name: np.ascontiguousarray(tensors[name].T)})
        with pytest.raises(pnn.AccuracyError, match=f"layer {len(layers) - 2}: its weight is transposed"):
            pnn.load(path)
        pnn.save(pnn.Network([*layers[:-2], layers[-2].with_activation("relu"), layers[-1]]), path)
        other = safetensors.numpy.load_file(path)["samples.outputs"]
        write(**{"samples.outputs": other})
        with pytest.raises(
            pnn.AccuracyError, match=f"layer {len(layers) - 2}: its activation is tanh, and was relu"
        ):
            pnn.load(path)


@pytest.mark.parametrize("ends", [(0, np.inf), (-np.inf, -3), (-np.inf, np.inf), (-1e308, 1e308)], ids=str)
def test_samples_of_ranges_without_ends_are_finite(tmp_path, ends):
    net = NET.described(input_range=ends)
    pnn.save(net, tmp_path / "net.safetensors")
    assert pnn.load(tmp_path / "net.safetensors").input_range == ends
    samples = safetensors.numpy.load_file(tmp_path / "net.safetensors")["samples.inputs"]
    assert np.all(np.isfinite(samples) & (ends[0] <= samples) & (samples <= ends[1]))


@pytest.mark.parametrize(
    ("low", "high"), [(-np.inf, 3.0), (-np.inf, -3.0), (-np.inf, 0.5), (3.0, np.inf), (-2.0, 5.0)]
)
def test_samples_lie_in_the_range_whose_ends_are_given(low, high):
    found = samples_of(NET.layers, (6,), (low, high))
    assert found.shape == (4, 6)
    assert np.all((low <= found) & (found <= high))
    assert len(np.unique(found)) == found.size
    np.testing.assert_array_equal(found, found.astype(np.float32))


def test_samples_are_such_as_the_first_layers_standardise():
    mean, deviation = np.array([1e6, -3.0, 0.0]), np.array([0.5, 100.0, 1.0])
    twice = pnn.Rescaling(np.ones(3), -mean), pnn.Rescaling(1 / deviation)
    for layers in (twice, (pnn.Rescaling(1 / deviation, -mean / deviation),)):
        found = samples_of(layers, (3,), None)
        assert np.all(np.abs((found - mean) / deviation) < 4)
        assert np.all(np.std((found - mean) / deviation, axis=0) > 0.1)


@pytest.mark.parametrize("name", EPSILON)
def test_what_is_allowed_is_some_units_in_the_last_place(name):
    x = np.random.default_rng(0).normal(size=(4, 6))
    for layers in ((pnn.Rescaling(2.0),), (pnn.Dense(np.eye(6)),), (pnn.Activation("tanh"),)):
        outputs, allowed = expected(layers, x, name)
        np.testing.assert_allclose(outputs, pnn.Network(layers)(x), rtol=1e-12)
        assert np.all(allowed > EPSILON[name] * np.abs(outputs))
        assert np.all(allowed < 200 * EPSILON[name] * np.abs(x).max())
        zero, least = expected(layers, 0 * x, name)
        assert np.all((zero == 0) & (least > 0) & (least <= 2**12 * SMALLEST_NORMAL[name]))


def test_an_error_is_passed_on_as_weights_amplify_it():
    """Of 1 - 1 nothing is left but rounding, and a weight of a million makes that a million times as large."""
    layers = pnn.Rescaling(1.0, -1.0), pnn.Dense(np.full((1, 1), 1e6))
    outputs, allowed = expected(layers, np.ones((4, 1)), "float32")
    assert np.all(outputs == 0)
    assert np.all((1e6 * EPSILON["float32"] / 2 < allowed) & (allowed < 1e8 * EPSILON["float32"]))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_samples_are_allowed_what_their_own_scores_are_off(name):
    x = np.random.default_rng(0).normal(size=(4, 6))
    _, allowed = expected((pnn.Activation(name),), x, "float32")
    x[0] *= 100
    _, others = expected((pnn.Activation(name),), x, "float32")
    np.testing.assert_array_equal(allowed[1:], others[1:])


@pytest.mark.parametrize(
    ("found", "wanted", "error"),
    [
        ([1.0, np.nan, np.inf], [1.5, np.nan, np.inf], 0.5),
        ([1.0, np.nan], [1.0, np.inf], np.inf),
        ([1.0, np.inf], [1.0, -np.inf], np.inf),
        ([np.nan, np.inf], [1.0, np.inf], np.inf),
        ([[1.0]], [1.0], np.inf),
        ([], [], 0),
    ],
)
def test_what_is_not_finite_is_to_be_the_same(found, wanted, error):
    found, wanted = np.array(found), np.array(wanted)
    assert excess(found, wanted, np.full(wanted.shape, 0.25)) == (error, 4 * error)


def test_outputs_are_those_of_float64(tmp_path):
    net = NET.astype("float16")
    pnn.save(net, tmp_path / "net.safetensors")
    tensors = safetensors.numpy.load_file(tmp_path / "net.safetensors")
    wanted = pnn.Network(layer.map(lambda a: a.astype(np.float64)) for layer in net.layers)(
        tensors["samples.inputs"]
    )
    np.testing.assert_allclose(tensors["samples.outputs"], wanted, rtol=1e-12)


@pytest.mark.parametrize("name", ["float32", "float64", "float16"])
def test_every_backend_is_tried(backend, name):
    found = NET.astype(name).verify(backend)
    assert (found.backend, found.samples) == (str(backend), 4)
    assert found.dtype in (name, "float32", "float64")
    assert 0 <= found.share <= 1


BETWEEN = {
    "every value apart": [pnn.Activation(name) for name in ("tanhshrink", "sine", "softplus", "silu", "erfc")],
    "along an axis": [pnn.Activation(name) for name in ("softmax", "log_softmax", "sparsemax", "glu", "softmin")],
    "normalized": [pnn.Normalize(epsilon=1e-3), pnn.Normalize(np.ones(6), None, 1e-3, centred=False)],
    "no numbers": [pnn.Activation("log"), pnn.Activation("log10"), pnn.Activation("reciprocal")],
}


# NumPy says so of logarithms of negative numbers
@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value) encountered:RuntimeWarning")
@pytest.mark.parametrize("size", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("kind", BETWEEN)
def test_a_healthy_network_proves_itself(tmp_path, kind, size):
    """Whatever its layers: where numbers cancel, where one is as good as 0, and where they are none."""
    random = np.random.default_rng(3)
    for layer in BETWEEN[kind]:
        n = 3 if "glu" in repr(layer) else 6
        after = pnn.Dense(random.normal(size=(n, 5)), None, "relu")
        for last in ([], [after], [after, pnn.Activation("reciprocal"), pnn.Activation("tanh")]):
            net = pnn.Network([pnn.Dense(size * random.normal(size=(4, 6))), layer, *last])
            for dtype in ("float32", "float64"):
                assert net.astype(dtype).verify().share <= 1
            pnn.save(net, tmp_path / "net.npz")
            pnn.load(tmp_path / "net.npz")


def test_the_last_numbers_before_0_may_be_lost():
    x = np.linspace(-110, -80, 124).reshape(4, 31)
    for name in ("float32", "float64"):
        x = x if name == "float32" else 7.5 * x
        found = pnn.activations.silu(x.astype(name))
        lost = np.where(np.abs(found) < SMALLEST_NORMAL[name] * 2**7, 0, found)
        for values in (found, lost):
            assert excess(values.astype(np.float64), *expected((pnn.Activation("silu"),), x, name))[1] <= 1


def test_a_network_that_takes_samples_of_any_length(tmp_path):
    for name in ("glu", "softmax", "relu"):
        net = pnn.Network([pnn.Activation(name)])
        pnn.save(net, tmp_path / "net.npz")
        assert pnn.load(tmp_path / "net.npz").verify().share <= 1


def test_a_backend_that_computes_something_else_is_found_out():
    import faulty

    with pytest.raises(pnn.AccuracyError, match="outputs on faulty in float32 differ by up to"):
        NET.astype("float32").verify(faulty.SKEWED)
    with pytest.raises(pnn.AccuracyError, match="products of float32 are rounded to tf32 there"):
        NET.astype("float32").verify(faulty.RUNS_TF32)


def test_steep_ends_are_allowed_what_they_amplify():
    net = pnn.Network([pnn.Dense(np.full((3, 2), 4.0), None), pnn.Activation("exp10")]).astype("float32")
    assert net.verify("numpy").share <= 1


def test_files_of_the_first_version_are_read(tmp_path):
    path = tmp_path / "old.safetensors"
    architecture = [{"layer": "Dense", "activation": "gelu"}, {"layer": "Rescaling", "scale": 2.0, "offset": 0.0}]
    metadata = {"format": "portable_nn", "version": "1", "architecture": json.dumps(architecture)}
    safetensors.numpy.save_file({"0.weight": np.eye(2), "0.bias": np.zeros(2)}, path, metadata)
    net = pnn.load(path)
    assert net.layers[0].activation == "gelu_tanh"


@pytest.mark.parametrize(
    "last",
    [
        [pnn.Activation("exp10")],
        [pnn.Rescaling(1e-9)],
        [pnn.Rescaling(1.0, -60.0), pnn.Activation("sigmoid")],
        [pnn.Rescaling(1e9, 3e9)],
    ],
    ids=["exp10", "small", "tail", "large"],
)
def test_outputs_of_any_size_prove_a_network(tmp_path, last):
    """An emulator gives 1e-10, and a transposed weight in it is found out all the same."""
    hidden = pnn.Dense(RNG.normal(size=(6, 6)), RNG.normal(size=6), "tanh")
    net = pnn.Network([hidden, pnn.Dense(RNG.normal(size=(6, 3)), RNG.normal(size=3) - 9), *last])
    pnn.save(net.astype("float32"), tmp_path / "net.npz")
    assert pnn.load(tmp_path / "net.npz").verify("numpy").share <= 1
    arrays = dict(np.load(tmp_path / "net.npz"))
    arrays["1.weight"] = arrays["1.weight"][::-1]
    np.savez(tmp_path / "net.npz", **arrays)
    with pytest.raises(pnn.AccuracyError):
        pnn.load(tmp_path / "net.npz")


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("name", ["float32", "float16"])
def test_rounding_alone_fails_no_network(name, seed):
    random = np.random.default_rng(seed)
    depth, width = int(random.integers(1, 9)), int(random.integers(1, 60))
    names = random.choice(["relu", "tanh", "sigmoid", "gelu", "silu", "softplus", "elu", "identity"], depth)
    scale = 3 ** random.normal() / width**0.5
    layers = [
        pnn.Dense(random.normal(size=(width, width)) * scale, random.normal(size=width), str(name))
        for name in names
    ]
    ends = ([], [pnn.Activation("softmax")], [pnn.Normalize()], [pnn.Rescaling(7.0, -3.0)])
    net = pnn.Network([*layers, *ends[seed % 4]]).astype(name)
    assert net.verify("numpy").share <= 1
    assert net.verify("torch").share <= 1
