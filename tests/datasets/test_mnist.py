"""MNIST: the embedded split is the original one, and the training split comes from the user's folder."""

import hashlib
import os

import numpy as np
import pytest

from portable_nn import datasets
from portable_nn.datasets._fetch import SOURCES
from portable_nn.datasets.embedded import embedded
from portable_nn.errors import DataError

needs_data = pytest.mark.skipif(
    not os.environ.get("PORTABLE_NN_DATA_DIR"),
    reason="set PORTABLE_NN_DATA_DIR to a folder that holds train-images-idx3-ubyte.gz and its labels",
)


@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
def test_the_embedded_files_are_the_original_ones(name):
    assert hashlib.sha256(embedded(name).read_bytes()).hexdigest() == SOURCES[name][0]


def test_the_licence_lies_beside_them():
    text = embedded("LICENSE").read_text(encoding="utf-8")
    for word in (
        "LeCun",
        "Cortes",
        "Burges",
        "CC BY-SA 3.0",
        "https://creativecommons.org/licenses/by-sa/3.0/",
    ):
        assert word in text


def test_the_test_split():
    images, labels = datasets.mnist()
    assert images.shape == (10_000, 784)
    assert images.dtype == np.uint8
    assert labels.shape == (10_000,)
    assert labels.dtype == np.int64
    assert images.min() == 0
    assert images.max() == 255
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@needs_data
def test_the_training_split():
    images, labels = datasets.mnist("train")
    assert images.shape == (60_000, 784)
    assert np.bincount(labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


@pytest.mark.parametrize("split", ["validation", "TEST", "", None])
def test_unknown_split(split):
    with pytest.raises(DataError, match="choose one of test, train"):
        datasets.mnist(split)
