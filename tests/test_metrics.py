"""What is measured of labels, against scikit-learn, in every integer dtype."""

import numpy as np
import pytest

from portable_nn.errors import InputError, ShapeError
from portable_nn.labels import label_indices
from portable_nn.meaning import Meaning
from portable_nn.metrics import ATOL, RTOL, confidence, confusion, count_correct, label_parity, margins, parity

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
        (np.array([0, -1, 2], dtype=np.int8), "from 0 to 65535, got -1 to 2$"),
        (np.array([0, 1, 2**63], dtype=np.uint64), "from 0 to 65535, got 0 to 9223372036854775808$"),
        (np.array([0, 1, 2**40]), "from 0 to 65535, got 0 to 1099511627776$"),
    ],
)
def test_labels_that_cannot_be_counted(labels, words):
    with pytest.raises(ShapeError, match=words):
        confusion(np.array([0, 1, 2]), labels)


@pytest.mark.parametrize("counted", [confusion, count_correct])
def test_labels_of_other_libraries_are_told_the_way_to_numpy(backend, counted):
    labels = np.array([0, 1, 2], dtype=np.uint8)
    placed = backend.place(labels)
    if backend.name == "numpy":
        np.testing.assert_array_equal(counted(placed, labels), counted(labels, labels))
        return
    for given in ((placed, labels), (labels, placed), (labels.tolist(), labels)):
        with pytest.raises(InputError, match=r"counted in NumPy, got \w+: call numpy\.asarray\(labels\)"):
            counted(*given)


SEVERAL = np.random.default_rng(0).dirichlet(np.ones(5), 101)


def test_margins_and_confidence_of_rows():
    ordered = np.sort(SEVERAL, axis=1)
    np.testing.assert_array_equal(margins(SEVERAL), ordered[:, -1] - ordered[:, -2])
    np.testing.assert_array_equal(confidence(SEVERAL), ordered[:, -1])
    one = np.array([[0.25], [0.75], [0.5]])
    np.testing.assert_array_equal(margins(one), [0.5, 0.5, 0])
    np.testing.assert_array_equal(confidence(one), [0.75, 0.75, 0.5])


def test_parity_of_finite_outputs():
    outputs = (SEVERAL + np.random.default_rng(1).normal(0, 1e-3, SEVERAL.shape)).astype(np.float32)
    error = np.abs(outputs - SEVERAL)
    found = parity(outputs, SEVERAL)
    assert found.max_abs_error == error.max()
    assert found.max_rel_error == (error / SEVERAL).max()
    assert found.non_finite == 0
    assert parity(SEVERAL, SEVERAL).max_rel_error == 0
    assert found.error_quantiles[:100:50] == tuple(np.sort(error.max(axis=1))[:100:50])  # of 101 samples
    assert found.error_quantiles[100] == error.max()
    for atol, rtol in ((0.0, 0.0), (1e-3, 0.0), (5e-3, 0.0), (0.0, 0.1), (0.0, 1e4), (1e-3, 1e4), (4e-3, 1e-2)):
        found = parity(outputs, SEVERAL, atol=atol, rtol=rtol)
        assert found.within_tolerance == np.allclose(outputs, SEVERAL, rtol=rtol, atol=atol)
        assert (found.atol, found.rtol) == (atol, rtol)


def test_tolerance_follows_the_scale():
    outputs, reference = np.array([[3.0, 0.0]]), np.array([[2.0, 0.0]])
    for size, within in ((0.5, False), (1.5, True), (1.25, False)):
        scale = np.array([[size, 100.0]])
        assert parity(outputs, reference, atol=0.25, rtol=0.5, scale=scale).within_tolerance == within
    assert parity(outputs, reference, atol=0.0, rtol=0.5).within_tolerance
    assert not parity(outputs, reference, atol=0.0, rtol=0.25).within_tolerance


def test_what_is_lost_is_counted():
    reference = np.array([[1.0, np.nan, 2.0], [3.0, 4.0, np.inf]])
    lost = parity(np.array([[np.nan, np.nan, 2.0], [np.inf, -np.inf, np.inf]]), reference, atol=9.0, rtol=9.0)
    assert (lost.non_finite, lost.within_tolerance, lost.max_abs_error) == (3, False, np.inf)


def test_tolerances_are_some_units_in_the_last_place():
    for name, units in (("float16", 16), ("float32", 256), ("float64", 256)):
        assert RTOL[name] == units * np.finfo(name).eps
        assert np.finfo(name).eps < ATOL[name] < 5000 * np.finfo(name).eps
    assert RTOL["bfloat16"] == 8 * RTOL["float16"]
    assert ATOL["float16"] < ATOL["bfloat16"] < 8 * ATOL["float16"]


def test_labels_beside_those_of_a_reference():
    reference = np.array([[0.75, 0.25], [0.5, 0.5], [0.125, 0.875], [0.25, 0.75]])
    outputs = np.array([[0.75, 0.25], [0.25, 0.75], [0.125, 0.875], [0.75, 0.25]])
    predicted, expected, truth = outputs.argmax(axis=1), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    found = label_parity(predicted, expected, outputs, reference, truth)
    assert (found.total, found.correct, found.differ, found.at_risk) == (4, 2, 2, 4)
    assert found.confusion == ((1, 1), (1, 1))
    assert found.accuracy == 0.5
    assert [(one.index, one.expected, one.label, one.probability, one.truth) for one in found.disagreements] == [
        (1, 0, 1, 0.75, 1),
        (3, 1, 0, 0.75, 1),
    ]
    unknown = label_parity(predicted, expected, outputs, reference, per_sample=2)
    assert (unknown.correct, unknown.accuracy, unknown.confusion) == (None, None, None)
    assert [(one.index, one.truth) for one in unknown.disagreements] == [(0, None), (1, None)]


def test_labels_are_at_risk_below_twice_the_largest_error():
    reference = np.array([[0.75, 0.25], [0.625, 0.375]])
    outputs = reference + np.array([[-0.25, 0.25], [0, 0]])
    labels = reference.argmax(axis=1)
    assert label_parity(labels, labels, outputs, reference).at_risk == 1
    assert label_parity(labels, labels, reference, reference).at_risk == 0


def test_at_most_24_disagreements_are_told():
    expected = np.zeros(30, dtype=int)
    found = label_parity(1 - expected, expected, np.ones((30, 2)), np.ones((30, 2)))
    assert (found.differ, [one.index for one in found.disagreements]) == (30, list(range(24)))


def test_labels_along_several_axes():
    labels = np.arange(20, dtype=np.uint8).reshape(5, 4) % 2
    np.testing.assert_array_equal(label_indices(labels, (5, 4, 2)), labels)
    np.testing.assert_array_equal(label_indices(labels, (5, 4, 1), Meaning(classes=(1, 0))), 1 - labels)
    np.testing.assert_array_equal(label_indices(labels, (5, 4), Meaning(task="multilabel")), labels)
    with pytest.raises(ShapeError, match=r"5 x 4 samples, labels of shape \(20,\)"):
        label_indices(labels.ravel(), (5, 4, 2))


PETS = ("dog", "cat", "emu")


@pytest.mark.parametrize("dtype", ["U3", "T", object])
def test_the_names_of_classes_are_their_places(dtype):
    names = np.array(["emu", "dog", "emu", "cat"], dtype=dtype)
    for labels, places in ((names, [2, 0, 2, 1]), (names[:0], []), (np.array([2, 0, 2, 1]), [2, 0, 2, 1])):
        assert label_indices(labels, (len(labels), 3), Meaning(classes=PETS)).tolist() == places


@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        (
            ["dog", "emu"],
            None,
            r"strings such as 'dog', and .* not name its classes: net.described\(classes=\[...\]\)",
        ),
        (["dog", "Emu"], PETS, "labels 'Emu' are none of the network's classes 'dog', 'cat', 'emu'"),
        (["1", "2"], (1, 2, 3), "strings such as '1', the network's classes are 1, 2, 3"),
        ([1, 3], None, r"run from 1 to 3, the network gives 0 to 2.* net.described\(classes=range\(1, 4\)\)"),
        ([1, 4], None, "run from 1 to 4, the network gives 0 to 2: give the labels that it was trained on$"),
        ([1, 3], PETS, "run from 1 to 3, the network gives 0 to 2: .*, or the names of its classes$"),
        ([0, 7], (5, 6, 7), "labels 0 are none of the network's classes 5, 6, 7"),
        ([0.0, 1.0], PETS, "dtype float64: give one integer for each"),
        ([b"dog", b"emu"], PETS, "dtype |S3: give one integer for each"),
        (["dog", None], PETS, "dtype object: give one integer for each"),
    ],
)
def test_labels_that_are_no_classes(labels, classes, words):
    with pytest.raises(ShapeError, match=words):
        label_indices(np.array(labels), (2, 3), Meaning(classes=classes))


def test_strings_are_not_counted_as_wrong():
    with pytest.raises(ShapeError, match=r"integers, got dtype <U1: .*label_indices"):
        count_correct(np.array([1, 2]), np.array(["1", "2"]))


def test_what_differs_in_shape_is_not_compared():
    with pytest.raises(ShapeError, match=r"outputs have shape \(1, 2\), the reference has \(3, 2\)"):
        parity(np.ones((1, 2)), np.ones((3, 2)))
