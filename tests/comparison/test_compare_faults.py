"""What each planted fault is called."""

import faulty
import numpy as np
import pytest
from comparing import INPUTS, QUICK

import portable_nn as pnn

SYMPTOMS = {
    "TRANSPOSED": ("failed", "size 50 is different from 784"),
    "RUNS_TF32": ("differs", "rounded to tf32"),
    "RUNS_BFLOAT16": ("differs", "rounded to bfloat16"),
    "STALE": ("differs", "stale"),
    "WRONG_AXIS": ("differs", "softmax along the wrong axis"),
    "CRASHING": ("failed", "SIGABRT"),
    "LEAVING": ("failed", "exit status 3"),
}


@pytest.fixture(scope="module")
def faults(mnist):
    """One comparison over all planted faults, and one backend without."""
    backends = [f"faulty:{name}" for name in ("HEALTHY", *SYMPTOMS)]
    return pnn.compare(*mnist, backends=backends, **QUICK)


def test_a_backend_of_ones_own_agrees(faults):
    healthy = faults.rows[0]
    assert (healthy.state, healthy.symptom) == ("agrees", "")


@pytest.mark.parametrize("name", SYMPTOMS)
def test_a_planted_fault_is_named(faults, name):
    state, symptom = SYMPTOMS[name]
    row = next(row for row in faults.rows if row.backend == f"faulty:{name}")
    assert row.state == state
    assert symptom in row.symptom
    assert not faults.holds


@pytest.mark.parametrize("name", ["RUNS_TF32", "RUNS_BFLOAT16"])
def test_equal_accuracy_does_not_hide_rounded_products(faults, name):
    healthy = faults.rows[0]
    row = next(row for row in faults.rows if row.backend == f"faulty:{name}")
    assert row.labels.correct == healthy.labels.correct
    assert row.parity.max_abs_error > 1e-5


def test_square_weights_transposed_give_other_labels():
    rng = np.random.default_rng(0)
    net = pnn.Network([pnn.Dense(rng.normal(size=(8, 8)), rng.normal(size=8), "softmax")])
    images = rng.integers(0, 9, (200, 8), dtype=np.uint8)
    found = pnn.compare(net, images, backends=[faulty.TRANSPOSED], dtypes=["float64"], in_process=True, **QUICK)
    (row,) = found.rows
    assert row.state == "differs"
    assert f"{row.labels.differ:,} of 200 labels differ" in row.symptom
    assert row.labels.differ > 100
    shown = row.labels.disagreements[0]
    assert shown.expected == net.predict(images)[shown.index] != shown.label


def test_one_wrong_label_of_ten_thousand_is_found():
    """Of outputs that are right: what the backend itself makes of them is measured."""
    images, labels = pnn.datasets.mnist("test")
    options = {"backends": [faulty.MISLABELLING], "in_process": True, **QUICK}
    (row,) = pnn.compare(pnn.load("mnist"), images, labels, **options).rows
    assert (row.state, row.symptom) == ("differs", "1 of 10,000 labels differ")
    (shown,) = row.labels.disagreements
    assert (shown.index, shown.label) == (9999, (shown.expected + 1) % 10)
    assert row.parity.within_tolerance


def test_outputs_that_are_nan_or_missing_are_named():
    net = pnn.Network([pnn.Dense(np.eye(4), None, "softmax")])
    options = {"backends": [faulty.LOSING, faulty.NARROWING], "in_process": True, **QUICK}
    losing, narrowing = pnn.compare(net, INPUTS[:30, :4], **options).rows
    assert losing.state == "differs"
    assert losing.symptom.startswith("30 outputs are nan or infinite; ")
    assert (narrowing.state, narrowing.parity) == ("failed", None)
    assert narrowing.symptom == "outputs have shape (30, 3), the reference has (30, 4)"


def test_other_rows_are_measured_beside_a_crash(faults):
    assert [row.state for row in faults.rows if row.measured] == ["agrees"] + 4 * ["differs"]


def test_an_exception_is_a_row(mnist):
    found = pnn.compare(*mnist, backends=["numpy:gpu", "faulty:NOPE", "faulty:NOT_A_BACKEND"], **QUICK)
    assert {row.state for row in found.rows} == {"failed"}
    assert "devices here: cpu" in found.rows[0].symptom
    assert "no attribute 'NOPE'" in found.rows[1].symptom
    assert "is a str" in found.rows[2].symptom
