"""safetensors: its own library is the oracle, damaged files and failing disks the adversary."""

import errno
import json
import os
from contextlib import suppress

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn.errors import FormatError
from portable_nn.formats import load, save

RNG = np.random.default_rng(0)
NET = pnn.Network(
    [
        pnn.Flatten((2, 3)),
        pnn.Rescaling(np.linspace(1, 2, 6, dtype=np.float32), np.linspace(-1, 0, 6, dtype=np.float32)),
        pnn.Rescaling(1 / 255, 0.1),
        pnn.Dense(RNG.normal(size=(6, 4)).astype(np.float32), RNG.normal(size=4).astype(np.float32), "tanh"),
        pnn.Dense(RNG.normal(size=(4, 3)).astype(np.float32), None, "softmax"),
    ]
)
X = RNG.normal(size=(5, 2, 3)).astype(np.float32)

METADATA = {"format": "portable_nn", "version": "1"}
DENSE = {"layer": "Dense", "activation": "relu"}
TENSORS = {"0.weight": np.ones((2, 3)), "0.bias": np.zeros(3)}
SECOND = {"1.weight": np.ones((2, 3)), "1.bias": np.zeros(3)}


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    path = tmp_path_factory.mktemp("safetensors") / "net.safetensors"

    def written(data):
        path.write_bytes(data)
        return path

    return written


def packed(architecture=(DENSE,), tensors=TENSORS, **metadata):
    if not isinstance(architecture, str):
        architecture = json.dumps(architecture)
    return safetensors.numpy.save(tensors, METADATA | {"architecture": architecture} | metadata)


def test_round_trip(tmp_path):
    save(NET, tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    assert again.same_architecture(NET)
    assert repr(again) == repr(NET)
    np.testing.assert_array_equal(again(X), NET(X))
    assert os.listdir(tmp_path) == ["net.safetensors"]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_file_as_its_own_library_reads_it(tmp_path, dtype):
    path = tmp_path / "net.safetensors"
    save(NET.astype(dtype), path)
    tensors = safetensors.numpy.load_file(path)
    samples = tensors.pop("samples.inputs"), tensors.pop("samples.outputs")
    assert {array.dtype.name for array in samples} == {"float64"}
    assert sorted(tensors) == ["1.offset", "1.scale", "3.bias", "3.weight", "4.bias", "4.weight"]
    assert {array.dtype.name for array in tensors.values()} == {dtype}
    np.testing.assert_array_equal(tensors["3.weight"], NET.layers[3].weight.astype(dtype))
    with safetensors.safe_open(path, framework="np") as file:
        metadata = file.metadata()
    assert metadata.keys() == {"format", "version", "architecture", "meaning"}
    assert json.loads(metadata["architecture"]) == [
        {"layer": "Flatten", "sample_shape": [2, 3]},
        {"layer": "Rescaling"},
        {"layer": "Rescaling", "scale": 1 / 255, "offset": 0.1},
        {"layer": "Dense", "activation": "tanh"},
        {"layer": "Dense", "activation": "softmax"},
    ]


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_one_network_is_one_file(tmp_path, suffix):
    for name in "abcd":
        save(NET, tmp_path / f"{name}{suffix}")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_weights_that_are_transposed_elsewhere(tmp_path):
    torch = pytest.importorskip("torch", reason='pip install "portable-nn[torch]"')
    linear = torch.nn.Linear(4, 3)
    net = pnn.Network([pnn.Dense(linear.weight.detach().T, linear.bias.detach())])
    save(net, tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    assert isinstance(again.layers[0].weight, np.ndarray)
    np.testing.assert_array_equal(again.layers[0].weight, linear.weight.detach().numpy().T)


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch, failing):
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"old")

    def full(*arguments, **keywords):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="No space left"):
        save(NET, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["net.safetensors"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        save(NET, tmp_path / "none" / "net.safetensors")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "not a safetensors file"),
        (packed("[]", {}), "not a network that portable_nn.save wrote"),
        (safetensors.numpy.save(TENSORS), "weights and no activations: give activation= and last="),
        (packed(format="pt"), "weights and no activations"),
        (packed(version="3"), "its version is '3', wanted '2': upgrade portable_nn"),
        (packed("[{"), "its architecture is not JSON"),
        (packed("[" * 100_000), "its architecture is not JSON"),
        (packed("{}"), "its architecture is not a JSON list"),
        (packed("[1]"), "not a list of objects"),
        (packed("[]", {}), "at least one layer"),
        (packed([{}]), "layer 0 is a None, known are Dense, Activation, Rescaling"),
        (packed([{"layer": "Conv"}]), "layer 0 is a 'Conv'"),
        (packed([{"layer": []}]), "unhashable"),
        (packed([{"layer": "Dense"}]), "layer 0 has .*, a Dense takes activation, weight, bias"),
        (packed([DENSE | {"units": 3}]), "unexpected keyword argument 'units'"),
        (packed([DENSE | {"bias": None}]), "multiple values for keyword argument 'bias'"),
        (packed(tensors={"0.weight": np.eye(2)}), "layer 0 has activation, weight, a Dense takes"),
        (packed(tensors=TENSORS | {"1.weight": np.eye(2)}), "no layer takes the tensors 1.weight"),
        (packed(tensors={"0.weight": np.eye(2), "0.bias": np.eye(2)}), "takes a bias of shape"),
        (packed(tensors={"0.weight": np.eye(2) * np.nan, "0.bias": np.zeros(2)}), "nan"),
        (packed(tensors={"0.weight": np.eye(2, dtype=int), "0.bias": np.zeros(2)}), "has dtype I64"),
        (packed([DENSE | {"activation": "softmx"}]), "unknown activation 'softmx'"),
        (packed([DENSE | {"activation": []}]), "not a network"),
        (packed([DENSE | {"weight": [[1]], "bias": [1]}], {}), "not a network"),
        (packed([{"layer": "Rescaling", "scale": "1", "offset": 0}], {}), "not a network"),
        (packed('[{"layer": "Rescaling", "scale": NaN, "offset": 0}]', {}), "nan"),
        (packed('[{"layer": "Rescaling", "scale": 1' + "0" * 400 + ', "offset": 0}]', {}), "not a network"),
        (packed([{"layer": "Flatten", "sample_shape": [28, -1]}], {}), "sample_shape must be positive"),
        (packed([{"layer": "Flatten", "sample_shape": [1e999]}], {}), "not a network"),
        (packed([{"layer": "Flatten", "sample_shape": [1] * 65}], {}), "sample_shape must be at most 64 lengths"),
        (packed([{"layer": "Flatten", "sample_shape": [2, 3]}, DENSE], SECOND),
         "gives 6 values, layer 1 takes 2"),
    ],
    ids=lambda value: "file" if isinstance(value, bytes) else value,
)  # fmt: skip
def test_refusals_say_why(write, data, match):
    with pytest.raises(FormatError, match=match):
        load(write(data))


@pytest.mark.parametrize(
    "lengths",
    ["7, " * 1_000_000 + "7", "1" + "0" * 400, ("1" + "0" * 4000 + ", ") * 10_000 + "1", "1" + "0" * 4300],
    ids=["a million axes", "a long length", "many long ones", "more digits than Python reads"],
)
def test_a_shape_that_no_array_has_is_refused_in_linear_time(write, lengths):
    """The product of the third has 40 million digits: to multiply them takes minutes."""
    architecture = f'[{{"layer": "Flatten", "sample_shape": [{lengths}]}}]'
    with pytest.raises(FormatError) as caught:
        load(write(packed(architecture, {})))
    assert len(str(caught.value)) < 1000


def test_many_layers(write):
    net = load(write(packed([{"layer": "Rescaling", "scale": 1.0, "offset": 1.0}] * 1500, {})))
    np.testing.assert_array_equal(net(np.array([0.0, 2.0])), [1500.0, 1502.0])


def test_a_state_dict_of_torch(tmp_path):
    pytest.importorskip("torch", reason='pip install "portable-nn[torch]"')
    import safetensors.torch
    import torch

    path = tmp_path / "torch.safetensors"
    safetensors.torch.save_model(torch.nn.Sequential(torch.nn.Linear(2, 3)), path)
    with pytest.raises(FormatError, match="weights and no activations"):
        load(path)


def test_bfloat16(tmp_path):
    torch = pytest.importorskip("torch", reason='pip install "portable-nn[torch]"')
    import safetensors.torch

    path = tmp_path / "net.safetensors"
    tensors = {"0.weight": torch.ones(2, 3, dtype=torch.bfloat16), "0.bias": torch.zeros(3)}
    safetensors.torch.save_file(tensors, path, METADATA | {"architecture": json.dumps([DENSE])})
    with pytest.raises(FormatError, match="has dtype BF16"):
        load(path)


@given(data=st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes(write, data):
    with pytest.raises(FormatError):
        load(write(data))


@given(start=st.integers(0), length=st.integers(0, 4), new=st.binary(max_size=4))
@settings(deadline=None, max_examples=300)
def test_damage(write, start, length, new):
    data = packed(
        [{"layer": "Rescaling", "scale": 2.0, "offset": 0}, DENSE],
        SECOND,
    )
    start %= len(data)
    with suppress(FormatError):
        assert load(write(data[:start] + new + data[start + length :])).layers


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["Dense", "relu", "", "1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["layer", "scale"]), inner),
)
entries = st.fixed_dictionaries(
    {"layer": st.sampled_from(["Dense", "Rescaling", "Flatten"])},
    optional=dict.fromkeys(["weight", "bias", "activation", "scale", "offset", "sample_shape"], json_values),
)


@given(architecture=st.lists(entries, max_size=2))
@settings(deadline=None, max_examples=300)
def test_any_architecture(write, architecture):
    with suppress(FormatError):
        assert load(write(packed(architecture, {}))).layers


def test_what_the_system_refuses(tmp_path):
    with pytest.raises(FormatError, match="cannot be read: No such file"):
        load(tmp_path / "none.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(FormatError, match="is a folder"):
        load(tmp_path / "folder.safetensors")
