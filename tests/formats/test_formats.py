"""`load` and `save`: which reader for which name."""

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.errors import FormatError
from portable_nn.formats import load, save

NET = pnn.Network([pnn.Dense(np.eye(2), np.zeros(2), "softmax")])


@pytest.mark.parametrize("model", ["minst", "", "net.onnx", "safetensors", "a/b/mnist"])
def test_unknown_models(model):
    with pytest.raises(
        FormatError, match=r"give 'mnist', 'book', or a path that ends in .safetensors, .npz, .pkl"
    ):
        load(model)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pkl"])
def test_a_missing_file_is_named(tmp_path, suffix):
    with pytest.raises(FormatError, match=f"none{suffix} cannot be read: No such file"):
        load(tmp_path / f"none{suffix}")


def test_the_case_of_a_suffix_does_not_matter(tmp_path):
    save(NET, str(tmp_path / "NET.SAFETENSORS"))
    assert load(str(tmp_path / "NET.SAFETENSORS")).same_architecture(NET)


@pytest.mark.parametrize("name", ["net.npz", "net.pkl", "net"])
def test_networks_are_saved_as_safetensors(tmp_path, name):
    with pytest.raises(FormatError, match=r"let the path end in \.safetensors"):
        save(NET, tmp_path / name)
    assert not any(tmp_path.iterdir())
