"""What is measured of labels, against scikit-learn, in every integer dtype."""

import numpy as np
import pytest

from portable_nn.errors import ShapeError
from portable_nn.metrics import check_labels, confusion, count_correct

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
    check_labels(np.zeros((5, 4), dtype=np.uint8), (5, 4), 2)
    with pytest.raises(ShapeError, match=r"5 x 4 samples, labels of shape \(20,\)"):
        check_labels(np.zeros(20, dtype=np.uint8), (5, 4), 2)
