"""`load` and `save`: which reader for which name."""

import json
import os

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.errors import FormatError
from portable_nn.formats import load, save

NET = pnn.Network([pnn.Dense(np.eye(2), np.zeros(2), "softmax")])


@pytest.mark.parametrize("model", ["minst", "net.tflite", "safetensors", "a/b/mnist"])
def test_unknown_models(model):
    with pytest.raises(
        FormatError, match=r"give 'mnist', 'book', or a path that ends in .safetensors, .npz, .pt, "
    ):
        load(model)


@pytest.mark.parametrize("model", [None, 3, NET])
def test_what_is_no_file(model):
    with pytest.raises(FormatError, match=rf"name or a path, got {type(model).__name__}: .* pnn\.from_torch"):
        load(model)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders: run on Linux or macOS")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "net.npz")
    with pytest.raises(FormatError, match=r"net\.npz is no regular file, and is opened again and again"):
        load(tmp_path / "net.npz")


def test_live_models_are_taken_by_the_function_of_their_framework(torch):
    with pytest.raises(
        pnn.InputError, match=r"from_sklearn takes .*, got an object of Linear: from_torch takes it"
    ):
        pnn.from_sklearn(torch.nn.Linear(2, 1))


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pkl"])
def test_a_missing_file_is_named(tmp_path, suffix):
    with pytest.raises(FormatError, match=f"none{suffix} cannot be read: No such file"):
        load(tmp_path / f"none{suffix}")


def test_the_case_of_a_suffix_does_not_matter(tmp_path):
    save(NET, str(tmp_path / "NET.SAFETENSORS"))
    assert load(str(tmp_path / "NET.SAFETENSORS")).same_architecture(NET)


@pytest.mark.parametrize("name", ["net.pkl", "net"])
def test_networks_are_saved_as_safetensors_or_npz(tmp_path, name):
    with pytest.raises(FormatError, match=r"saved as \.safetensors, \.npz, \.onnx: let the path end so"):
        save(NET, tmp_path / name)
    assert not any(tmp_path.iterdir())


RICH = pnn.Network(
    [
        pnn.Flatten((2, 3)),
        pnn.Rescaling(0.5, np.arange(6.0)),
        pnn.Dense(np.linspace(-1, 1, 24).reshape(6, 4), np.arange(4.0), "gelu"),
        pnn.Normalize(np.arange(1.0, 5), None, 1e-3),
        pnn.Activation("prelu", slope=np.arange(4.0)),
        pnn.Dense(np.linspace(-1, 1, 12).reshape(4, 3).astype(np.float32)),
        pnn.Activation("elu", alpha=0.5),
    ],
    classes=[3, 5, 9],
    inputs=list("abcdef"),
    outputs=["x", "y", "z"],
    input_range=(-1, 4),
    input_dtype="float32",
)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_all_that_a_network_is_comes_back(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    save(RICH, path)
    again = load(path)
    assert repr(again) == repr(RICH)
    assert again.same_architecture(RICH)
    assert again.meaning == RICH.meaning
    for ours, theirs in zip(RICH.layers, again.layers, strict=True):
        assert ours.options == theirs.options
        for name, array in ours.arrays.items():
            np.testing.assert_array_equal(theirs.arrays[name], array)
            assert theirs.arrays[name].dtype == array.dtype


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_the_content_tells_the_format(tmp_path, suffix):
    save(RICH, tmp_path / f"net{suffix}")
    (tmp_path / f"net{suffix}").rename(tmp_path / "net.dat")
    assert load(tmp_path / "net.dat").same_architecture(RICH)


@pytest.mark.parametrize(
    ("metadata", "match"),
    [
        (b"\xff", ".* can't decode byte"),
        (b"[" * 100_000, "(maximum recursion depth|Stack overflow)"),
        (b"[]", "its metadata are no strings by name"),
        (b'{"format": 3}', "its metadata are no strings by name"),
        (json.dumps({"format": "another", "version": "2"}).encode(), "its metadata are of something else"),
    ],
    ids=["bytes", "deep", "list", "number", "another"],
)
def test_metadata_of_an_npz_that_are_none(tmp_path, metadata, match):
    np.savez(tmp_path / "net.npz", portable_nn=np.frombuffer(metadata, np.uint8))
    with pytest.raises(FormatError, match=rf"net\.npz is not a network that portable_nn\.save wrote: {match}"):
        load(tmp_path / "net.npz")


def test_what_a_file_says_itself_is_not_given(tmp_path):
    save(NET, tmp_path / "net.npz")
    with pytest.raises(FormatError, match="says all itself: leave activation= out"):
        load(tmp_path / "net.npz", activation="relu")
    with pytest.raises(FormatError, match="'mnist' says itself what it is: leave last=, format= out"):
        load("mnist", last="softmax", format="book")


def test_the_task_is_given_where_the_file_does_not_say(tmp_path):
    save(pnn.Network([pnn.Dense(np.ones((2, 1)))]), tmp_path / "net.npz")
    with pytest.raises(pnn.NetworkError, match='task="classification"'):
        load(tmp_path / "net.npz").predict(np.ones(2))
    assert load(tmp_path / "net.npz", task="classification").predict(np.ones(2)) == 1
    with pytest.raises(pnn.NetworkError, match="does regression"):
        load(tmp_path / "net.npz", task="regression").predict(np.ones(2))


@pytest.mark.parametrize("classes", [("no", "yes"), (3, 1)], ids=str)
def test_classes_are_given_where_the_file_does_not_say(tmp_path, classes):
    save(pnn.Network([pnn.Dense(np.eye(2), None, "softmax")]), tmp_path / "net.npz")
    assert load(tmp_path / "net.npz", classes=iter(classes)).classes == classes
    with pytest.raises(FormatError, match=r"net\.npz: 3 classes were given, the outputs mean 2"):
        load(tmp_path / "net.npz", classes=["a", "b", "c"])


def test_folders_are_no_models(tmp_path):
    with pytest.raises(FormatError, match="is a folder, and models are read from files"):
        load(tmp_path)
