"""The book's convention of names, and its weights."""

import os
import pickle

import numpy as np
import pytest
from scipy.special import expit, softmax

from portable_nn import datasets
from portable_nn.errors import FormatError
from portable_nn.formats import load
from portable_nn.formats.book import book_network

ARRAYS = {"W1": np.eye(3, 4), "b1": np.arange(4.0), "W2": np.ones((4, 2)), "b2": np.arange(2.0)}


def test_the_convention():
    x = np.array([[0.0, 51.0, 255.0], [255.0, 0.0, 0.0]])
    hidden = expit(x / 255 @ ARRAYS["W1"] + ARRAYS["b1"])
    expected = softmax(hidden @ ARRAYS["W2"] + ARRAYS["b2"], axis=-1)
    np.testing.assert_allclose(book_network(ARRAYS)(x), expected, rtol=1e-12)


def test_one_layer():
    assert book_network({"W1": np.eye(3), "b1": np.zeros(3)}).layers[-1].activation == "softmax"


def test_a_pickle(tmp_path):
    path = tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps(ARRAYS))
    assert load(path, format="book").same_architecture(book_network(ARRAYS))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz(tmp_path, save):
    save(tmp_path / "net.npz", **ARRAYS)
    assert load(tmp_path / "net.npz", format="book").same_architecture(book_network(ARRAYS))


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({}, "holds arrays none"),
        ({"W1": np.eye(2)}, "holds arrays W1: name them W1, b1, W2, b2, …"),
        ({"W0": np.eye(2), "b0": np.zeros(2)}, "holds arrays W0, b0"),
        ({**ARRAYS, "W4": np.eye(2), "b4": np.zeros(2)}, "holds arrays W1, W2, W4"),
        ({**ARRAYS, "b2": np.zeros(3)}, "takes a bias of shape"),
        ({**ARRAYS, "W2": np.ones((5, 2))}, "layer 1 gives 4 values, layer 2 takes 5"),
        ({**ARRAYS, "b1": np.full(4, np.nan)}, "nan"),
    ],
)
def test_what_is_no_network(arrays, match):
    with pytest.raises(FormatError, match=match):
        book_network(arrays)


def test_the_file_is_named(tmp_path):
    path = tmp_path / "net.pkl"
    path.write_bytes(pickle.dumps({"W": np.eye(2)}))
    with pytest.raises(FormatError, match=r"net.pkl holds arrays W: name them"):
        load(path, format="book")
    np.savez(tmp_path / "net.npz")
    with pytest.raises(FormatError, match=r"net.npz holds arrays none: name them"):
        load(tmp_path / "net.npz", format="book")


@pytest.mark.skipif(
    not os.environ.get("PORTABLE_NN_DATA_DIR"),
    reason="set PORTABLE_NN_DATA_DIR to a folder that holds sample_weight.pkl",
)
def test_the_accuracy_of_the_book():
    images, labels = datasets.mnist("test")
    assert np.mean(load("book").predict(images) == labels) == 0.9352
