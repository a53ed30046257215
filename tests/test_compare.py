"""Comparisons: what agrees, what each planted fault is called, and what is refused."""

import faulty
import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.comparison.environment import environment
from portable_nn.comparison.records import ColdStart, Comparison, Measured, Row, Speed
from portable_nn.metrics import parity

QUICK = {"batch_sizes": [64], "iterations": 1, "warm_up": 0}

SYMPTOMS = {
    "TRANSPOSED": ("failed", "784 values"),
    "RUNS_TF32": ("differs", "rounded to tf32"),
    "RUNS_BFLOAT16": ("differs", "rounded to bfloat16"),
    "STALE": ("differs", "stale"),
    "WRONG_AXIS": ("differs", "softmax along the wrong axis"),
    "CRASHING": ("failed", "SIGABRT"),
    "LEAVING": ("failed", "exit status 3"),
}


@pytest.fixture(scope="module")
def mnist():
    images, labels = pnn.datasets.mnist("test")
    return pnn.load("mnist"), images[:500], labels[:500]


@pytest.fixture(scope="module")
def faults(mnist):
    """One comparison over all planted faults, and one backend without."""
    backends = [f"faulty:{name}" for name in ("HEALTHY", *SYMPTOMS)]
    return pnn.compare(*mnist, backends=backends, **QUICK)


def test_a_backend_that_hangs_is_killed(mnist):
    (row,) = pnn.compare(*mnist, backends=["faulty:HANGING"], time_limit=4, **QUICK).rows
    assert row.state == "failed"
    assert row.symptom.startswith("no result within 4 s: it hung while")


def test_numpy_agrees(mnist):
    net, images, labels = mnist
    found = pnn.compare(*mnist, backends=["numpy"], dtypes=["float32", "float64"], **QUICK)
    single, double = found.rows
    assert found.holds
    assert single.labels.correct == double.labels.correct == np.count_nonzero(net.predict(images) == labels)
    assert single.labels.differ == single.labels.at_risk == 0
    assert 0 < single.parity.max_abs_error < 1e-5
    assert double.parity.max_abs_error <= 1e-12
    assert single.measured.precision == "float32"
    assert [speed.batch_size for speed in single.measured.speeds] == [1, 1, 64, 64]
    assert single.measured.host_memory > 10 << 20


def test_how_a_network_runs_is_what_is_measured(mnist):
    net, images, labels = mnist
    for how in (net.optimized(), net.compile()):
        found = pnn.compare(how, images, labels, backends=["numpy"], **QUICK)
        here = pnn.compare(how, images, labels, backends=["numpy"], in_process=True, **QUICK)
        assert found.network == here.network == repr(how)
        assert found.holds
        assert found.rows[0].parity == here.rows[0].parity
        assert found.rows[0].parity != pnn.compare(*mnist, backends=["numpy"], **QUICK).rows[0].parity


def test_what_the_reference_leaves_infinite_must_be_the_same():
    reference = np.array([[np.inf, 1.0], [np.nan, 2.0]])
    same = parity(reference.astype(np.float32), reference)
    assert (same.within_tolerance, same.max_abs_error, same.non_finite) == (True, 0.0, 0)
    for other in ([[-np.inf, 1.0], [np.nan, 2.0]], [[np.inf, 1.0], [0.0, 2.0]], [[1e300, 1.0], [np.nan, 2.0]]):
        found = parity(np.array(other), reference, rtol=0.5)
        assert (found.within_tolerance, found.max_abs_error, found.max_rel_error) == (False, np.inf, np.inf)


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


def test_an_object_travels_by_its_name(mnist):
    found = pnn.compare(*mnist, backends=[faulty.HEALTHY], **QUICK)
    assert [row.backend for row in found.rows] == ["faulty:HEALTHY"]
    assert found.holds


def test_an_object_without_a_name_is_refused(mnist):
    nameless = faulty.Healthy(np, None)
    with pytest.raises(pnn.BackendError, match=r"assign it at the top of faulty, or .* in_process=True"):
        pnn.compare(*mnist, backends=[nameless], **QUICK)


def test_other_rows_are_measured_beside_a_crash(faults):
    assert [row.state for row in faults.rows if row.measured] == ["agrees"] + 4 * ["differs"]


def test_an_exception_is_a_row(mnist):
    found = pnn.compare(*mnist, backends=["numpy:gpu", "faulty:NOPE", "faulty:NOT_A_BACKEND"], **QUICK)
    assert {row.state for row in found.rows} == {"failed"}
    assert "devices here: cpu" in found.rows[0].symptom
    assert "no attribute 'NOPE'" in found.rows[1].symptom
    assert "is a str" in found.rows[2].symptom


def test_a_dtype_that_the_device_lacks_is_no_failure(mnist):
    found = pnn.compare(*mnist, backends=["numpy"], dtypes=["float32", "bfloat16"], **QUICK)
    assert [row.state for row in found.rows] == ["agrees", "unsupported"]
    assert found.holds


def test_tolerances_may_be_given(mnist):
    strict = pnn.compare(*mnist, backends=["numpy"], atol=1e-12, in_process=True, **QUICK)
    assert strict.rows[0].state == "differs"
    assert "allowed is 1e-12" in strict.rows[0].symptom
    relative = pnn.compare(*mnist, backends=["numpy"], atol=0, rtol=1e-4, in_process=True, **QUICK)
    assert relative.holds


def test_a_regression_has_no_labels():
    net = pnn.Network([pnn.Dense(np.ones((3, 1)))])
    images = np.arange(12.0).reshape(4, 3)
    found = pnn.compare(net, images, backends=["numpy"], dtypes=["float64"], in_process=True, **QUICK)
    assert found.holds
    assert found.rows[0].labels is None
    with pytest.raises(pnn.ShapeError, match="leave labels out"):
        pnn.compare(net, images, np.zeros(4, int), backends=["numpy"], in_process=True, **QUICK)


def test_progress_reaches_the_end(mnist):
    seen = []
    pnn.compare(*mnist, backends=["numpy"], progress=lambda *step: seen.append(step), **QUICK)
    rows, steps, done, totals = zip(*seen, strict=True)
    assert set(rows) == {"numpy float32"}
    assert steps[0] == "importing it"
    assert done == tuple(range(totals[0]))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"backends": ["torhc"]}, pnn.BackendError, "choose one of numpy, torch"),
        ({"backends": ["torhc:cpu"]}, pnn.BackendError, "name a backend of your own as module:name"),
        ({"dtypes": ["float31"]}, pnn.NetworkError, "float16, bfloat16, float32, float64"),
        ({"batch_sizes": [0]}, pnn.ShapeError, "at least one sample"),
        ({"iterations": 0}, pnn.InputError, "iterations=0"),
    ],
)
def test_misuse(mnist, options, error, words):
    with pytest.raises(error, match=words):
        pnn.compare(*mnist, **options)


@pytest.mark.parametrize(
    ("labels", "words"),
    [(np.arange(3), "500 images"), (np.full(500, 10), "10 to 10"), (np.zeros(500), "float64")],
)
def test_labels_that_do_not_fit(mnist, labels, words):
    net, images, _ = mnist
    with pytest.raises(pnn.ShapeError, match=words):
        pnn.compare(net, images, labels, backends=["numpy"], **QUICK)


def test_no_images(mnist):
    net, images, _ = mnist
    with pytest.raises(pnn.ShapeError, match="no images"):
        pnn.compare(net, images[:0], backends=["numpy"], **QUICK)


def a_row(backend, speeds, state="agrees"):
    measured = Measured(
        device="cpu",
        version="1",
        precision="float32",
        stale=False,
        batch_effect=0.0,
        cold_start=ColdStart(0.0, 0.0, 0.0),
        speeds=tuple(Speed(size, False, size / rate, size / rate, 1) for size, rate in speeds.items()),
        host_memory=None,
        device_memory=None,
        threads=(),
    )
    return Row(backend, "float32", state, "", measured=measured)


def test_crossover_names_the_winner_from_each_batch_size_on_by_a_clear_lead():
    rows = (
        a_row("small", {1: 100.0, 2: 110.0, 4: 120.0, 8: 120.0}),
        a_row("large", {1: 1.0, 2: 115.0, 4: 900.0, 8: 1000.0}),
        a_row("wrong", {1: 1e9, 2: 1e9, 4: 1e9, 8: 1e9}, state="differs"),
    )
    found = Comparison("m", "n", 1, (1, 2, 4, 8), rows, environment())
    assert [(winner.batch_size, winner.name) for winner in found.crossover()] == [
        (1, "small float32"),
        (4, "large float32"),
    ]
    assert found.crossover(transfers=True) == ()
