"""Labels that are compared: of samples along several axes, of classes, and several of a sample."""

import faulty
import numpy as np
import pytest
from comparing import QUICK

import portable_nn as pnn


def test_samples_along_several_axes_are_counted_each():
    rng = np.random.default_rng(0)
    net = pnn.Network([pnn.Dense(rng.normal(size=(8, 3)), None, "softmax")])
    x = rng.integers(0, 9, (5, 4, 8), dtype=np.uint8)
    truth = net.predict(x)
    truth[3, 2] = (truth[3, 2] + 1) % 3
    found = pnn.compare(net, x, truth, backends=["numpy"], in_process=True, **QUICK)
    (row,) = found.rows
    assert (found.samples, row.state, row.symptom) == (20, "agrees", "")
    assert (row.labels.total, row.labels.differ, row.labels.correct) == (20, 0, 19)
    wrong = {"backends": [faulty.REVERSING], "in_process": True, **QUICK}
    (row,) = pnn.compare(net, x, truth, **wrong).rows
    (flat,) = pnn.compare(net, x.reshape(20, 8), truth.ravel(), **wrong).rows
    assert row.labels == flat.labels
    assert row.labels.differ > 5
    assert row.parity.max_abs_error == pytest.approx(flat.parity.max_abs_error)
    with pytest.raises(pnn.ShapeError, match="5 x 4 samples, labels of shape"):
        pnn.compare(net, x, truth[0], backends=["numpy"], in_process=True, **QUICK)


SCORES = np.random.default_rng(1).normal(size=(40, 3))


def scored(*, task=None, classes=None, activation="softmax"):
    return pnn.Network([pnn.Dense(np.eye(3), None, activation)], task=task, classes=classes)


@pytest.mark.parametrize("classes", [None, [1, 2, 3], ["a", "b", "c"], [40, -1, 2]])
def test_labels_are_the_classes_of_the_network(classes):
    labels = SCORES.argmax(axis=1)
    labels[0] = (labels[0] + 1) % 3
    truth = labels if classes is None else np.array(classes)[labels]
    options = {"backends": ["numpy", faulty.REVERSING], "in_process": True, **QUICK}
    found = pnn.compare(scored(classes=classes), SCORES, truth, **options)
    assert found.classes == (None if classes is None else tuple(classes))
    right, wrong = found.rows
    assert (right.state, right.labels.correct, right.labels.differ) == ("agrees", 39, 0)
    assert np.shape(right.labels.confusion) == (3, 3)
    middle = int(np.sum(SCORES.argmax(axis=1) == 1))
    assert (wrong.state, wrong.labels.differ) == ("differs", 40 - middle)
    shown = wrong.labels.disagreements[0]
    assert shown.expected == SCORES[shown.index].argmax() == 2 - shown.label
    with pytest.raises(pnn.ShapeError):
        pnn.compare(scored(classes=classes), SCORES, np.full(40, 99), **options)


def test_several_labels_of_a_sample():
    net = scored(task="multilabel", activation="sigmoid", classes=["a", "b", "c"])
    truth = (SCORES >= 0).astype(int)
    options = {"backends": ["numpy", faulty.REVERSING], "in_process": True, **QUICK}
    found = pnn.compare(net, SCORES, truth, **options)
    assert found.classes is None
    right, wrong = found.rows
    assert (right.labels.total, right.labels.correct, right.labels.differ) == (120, 120, 0)
    turned = truth != truth[:, ::-1]
    assert (wrong.state, wrong.labels.differ) == ("differs", turned.sum())
    assert {shown.index for shown in wrong.labels.disagreements} <= set(np.flatnonzero(turned.any(axis=1)))
    with pytest.raises(pnn.ShapeError, match="40 x 3 samples, labels of shape"):
        pnn.compare(net, SCORES, truth[:, 0], **options)
