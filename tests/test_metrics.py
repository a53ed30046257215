"""What is measured of labels, against scikit-learn, in every integer dtype."""

import numpy as np
import pytest

from portable_nn.errors import ShapeError
from portable_nn.labels import label_indices
from portable_nn.metrics import confusion, count_correct

INTEGERS = "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"
CLASSES = 26


@pytest.mark.parametrize("predicted_dtype", INTEGERS)
@pytest.mark.parametrize("dtype", INTEGERS)
def test_confusion_in_any_integers(predicted_dtype, dtype):
    oracle = pytest.importorskip(
        "sklearn.metrics", reason="the oracle: pip install scikit-learn"
    ).confusion_matrix
    rng = np.random.default_rng(0)
    labels = np.append(rng.integers(0, CLASSES, 500), CLASSES - 1)
    predicted = np.where(rng.random(501) < 0.7, labels, rng.integers(0, CLASSES, 501))
    found = confusion(predicted.astype(predicted_dtype), labels.astype(dtype))
    np.testing.assert_array_equal(found, oracle(labels, predicted))
    assert found.trace() == count_correct(predicted.astype(predicted_dtype), labels.astype(dtype))


def test_no_labels_are_no_counts():
    none = np.zeros(0, dtype=np.uint8)
    assert confusion(none, none).shape == (0, 0)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([0, 1]), r"\(3,\) labels were predicted, \(2,\) are given"),
        (np.array([0.0, 1.0, 2.0]), "integers, got dtype float64"),
        (np.array([0, -1, 2], dtype=np.int8), "not negative, got -1"),
    ],
)
def test_labels_that_cannot_be_counted(labels, words):
    with pytest.raises(ShapeError, match=words):
        confusion(np.array([0, 1, 2]), labels)


def test_labels_along_several_axes():
    labels = np.arange(20, dtype=np.uint8).reshape(5, 4) % 2
    np.testing.assert_array_equal(label_indices(labels, (5, 4), 2), labels)
    np.testing.assert_array_equal(label_indices(labels, (5, 4), 2, [1, 0]), 1 - labels)
    with pytest.raises(ShapeError, match=r"5 x 4 samples, labels of shape \(20,\)"):
        label_indices(labels.ravel(), (5, 4), 2)


PETS = ["dog", "cat", "emu"]


@pytest.mark.parametrize("dtype", ["U3", "T", object])
def test_the_names_of_classes_are_their_places(dtype):
    names = np.array(["emu", "dog", "emu", "cat"], dtype=dtype)
    assert label_indices(names, (4,), 3, PETS).tolist() == [2, 0, 2, 1]
    assert label_indices(names[:0], (0,), 3, PETS).tolist() == []
    assert label_indices(np.array([2, 0, 2, 1]), (4,), 3, PETS).tolist() == [2, 0, 2, 1]


@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        (
            ["dog", "emu"],
            None,
            r"strings such as 'dog', and .* not name its classes: net.described\(classes=\[...\]\)",
        ),
        (["dog", "Emu"], PETS, "labels 'Emu' are none of the network's classes 'dog', 'cat', 'emu'"),
        (["1", "2"], [1, 2, 3], "strings such as '1', the network's classes are 1, 2, 3"),
        ([1, 3], None, r"run from 1 to 3, the network gives 0 to 2.* net.described\(classes=range\(1, 4\)\)"),
        ([1, 4], None, "run from 1 to 4, the network gives 0 to 2: give the labels that it was trained on$"),
        ([1, 3], PETS, "run from 1 to 3, the network gives 0 to 2: .*, or the names of its classes$"),
        ([0, 7], [5, 6, 7], "labels 0 are none of the network's classes 5, 6, 7"),
        ([0.0, 1.0], PETS, "dtype float64: give one integer for each"),
        ([b"dog", b"emu"], PETS, "dtype |S3: give one integer for each"),
        (["dog", None], PETS, "dtype object: give one integer for each"),
    ],
)
def test_labels_that_are_no_classes(labels, classes, words):
    with pytest.raises(ShapeError, match=words):
        label_indices(np.array(labels), (2,), 3, classes)


def test_strings_are_not_counted_as_wrong():
    with pytest.raises(ShapeError, match=r"integers, got dtype <U1: .*label_indices"):
        count_correct(np.array([1, 2]), np.array(["1", "2"]))
