"""Comparisons: what agrees, what each planted fault is called, and what is refused."""

import json
import os
import signal
import sys

import faulty
import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.comparison.environment import environment
from portable_nn.comparison.measuring import Task, find
from portable_nn.comparison.records import ColdStart, Comparison, Measured, Row, Speed
from portable_nn.comparison.verdicts import reference, verdict
from portable_nn.metrics import parity
from portable_nn.report.interchange import to_json

QUICK = {"batch_sizes": [64], "iterations": 1, "warm_up": 0}

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


MISCOMPILING = """
import array_api_compat.numpy
from faulty import Healthy
from portable_nn.backends import BACKENDS, Backend

for library in (Backend, BACKENDS["numpy"]):
    library.compiled = lambda self, function: lambda x: 2 * function(x)
MINE = Healthy(array_api_compat.numpy, None)
"""


def test_a_compiled_network_is_measured_compiled(mnist, tmp_path, monkeypatch):
    net, images, labels = mnist
    (tmp_path / "miscompiling.py").write_text(MISCOMPILING)
    monkeypatch.chdir(tmp_path)
    compiled = pnn.compare(net.compile(), images, labels, backends=["miscompiling:MINE"], **QUICK)
    assert compiled.network == repr(net.compile())
    assert compiled.rows[0].parity.max_abs_error == pytest.approx(1, abs=0.01)
    assert pnn.compare(net, images, labels, backends=["miscompiling:MINE"], **QUICK).holds


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "identity"])
def test_the_reference_is_the_plain_loop(monkeypatch, activation):
    """Of the layers as they are given: a pass of rewriting that gets a weight wrong is found, on NumPy too."""
    net = pnn.Network([pnn.Dense(INPUTS[:64, :20], None, "relu"), pnn.Dense(INPUTS[:20, :3], None, activation)])
    options = {"backends": ["numpy"], "dtypes": ["float64", "float32"], "in_process": True, **QUICK}
    assert [row.state for row in pnn.compare(net, INPUTS, **options).rows] == ["agrees"] * 2

    def wrong(layers, dtype):
        *others, last = layers
        return *others, last.map(lambda array: 1.01 * array)

    monkeypatch.setattr("portable_nn.placing.rewritten", wrong)
    for row in pnn.compare(net, INPUTS, **options).rows:
        assert row.state == "differs"
        assert "outputs differ by up to" in row.symptom
        assert row.parity.max_abs_error > 1e-4


def regression(n_out, *after):
    """Outputs in the thousands, which cross 0."""
    rng = np.random.default_rng(n_out)
    hidden = pnn.Dense(rng.normal(size=(64, 50)) / 8, rng.normal(size=50), "relu")
    return pnn.Network([hidden, pnn.Dense(rng.normal(size=(50, n_out)) * 1000, None), *after])


INPUTS = np.random.default_rng(0).normal(size=(5000, 64))


@pytest.mark.parametrize(
    "net",
    [regression(1), regression(7), regression(7, pnn.Rescaling(300.0, 5e4)), regression(1, pnn.Flatten((1,)))],
    ids=["one", "seven", "rescaled", "flattened"],
)
def test_a_healthy_regression_agrees(net):
    dtypes = ["float64", "float32", "float16"] if len(net.layers) == 2 else ["float64", "float32"]
    assert np.abs(net(INPUTS)).max() > 2000
    found = pnn.compare(net, INPUTS, backends=["numpy"], dtypes=dtypes, in_process=True, **QUICK)
    assert [(row.state, row.symptom) for row in found.rows] == [("agrees", "")] * len(dtypes)
    assert min(row.parity.max_abs_error for row in found.rows[1:]) > 1e-5


@pytest.mark.parametrize("seed", [2, 3])
def test_rounding_that_layers_make_larger_is_no_fault(seed):
    random = np.random.default_rng(seed)
    layers = [pnn.Dense(random.normal(size=(64, 64)) / 2, random.normal(size=64), "tanh") for _ in range(8)]
    net = pnn.Network([*layers, pnn.Dense(random.normal(size=(64, 3)))])
    options = {"in_process": True, "dtypes": ["float32", "float16"], **QUICK}
    found = pnn.compare(net, INPUTS[:200], backends=["numpy", "torch"], **options)
    assert [(row.state, row.symptom) for row in found.rows] == [("agrees", "")] * 4
    (row, _) = pnn.compare(net, INPUTS[:200], backends=[faulty.RUNS_TF32], **options).rows
    assert row.state == "differs"


@pytest.mark.parametrize(
    ("fault", "symptom"),
    [("RUNS_TF32", "rounded to tf32"), ("RUNS_BFLOAT16", "to bfloat16"), ("SKEWED", "outputs differ")],
)
def test_a_fault_in_a_regression_is_found(fault, symptom):
    backends = [getattr(faulty, fault)]
    (row,) = pnn.compare(regression(1), INPUTS, backends=backends, in_process=True, **QUICK).rows
    assert row.state == "differs"
    assert symptom in row.symptom
    assert "softmax" not in row.symptom


def test_each_output_has_its_own_scale():
    """A thousandth of an output in the thousandths is a fault, beside outputs in the millions."""
    net = regression(2, pnn.Rescaling(np.array([1000.0, 1e-6])))
    (row,) = pnn.compare(net, INPUTS, backends=[faulty.SKEWED], in_process=True, atol=0, **QUICK).rows
    assert row.state == "differs"
    assert row.parity.max_abs_error > 1
    (row,) = pnn.compare(net, INPUTS, backends=["numpy"], in_process=True, atol=0, **QUICK).rows
    assert row.state == "agrees"


CLOSE = {
    "two": pnn.Dense(np.stack([np.ones(8), np.ones(8) - 1e-12], axis=1), None, "softmax"),
    "one": pnn.Dense(np.array([1.0, -1.0 - 1e-12] + 6 * [0.0])[:, None], None, "sigmoid"),
}


@pytest.mark.parametrize("layer", CLOSE.values(), ids=CLOSE)
def test_labels_that_rounding_turns_are_told_and_no_fault(layer):
    """Logits that are closer than float32 tells apart: two, or one that is a difference of two."""
    net, x = pnn.Network([layer]), np.array([[-1000.0] * 8, [1000.0] * 8])
    (row,) = pnn.compare(net, x, backends=["numpy"], in_process=True, **QUICK).rows
    assert (row.labels.differ, row.state, row.symptom) == (1, "agrees", "")
    (row,) = pnn.compare(net, x, backends=["numpy"], dtypes=["float64"], in_process=True, **QUICK).rows
    assert (row.labels.differ, row.state) == (0, "agrees")


@pytest.mark.parametrize("apart", [False, True], ids=["", "apart"])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "tanh"])
def test_what_is_bounded_is_allowed_a_number_besides(activation, apart):
    dense = pnn.Dense(np.eye(8), None, activation)
    net = pnn.Network([pnn.Dense(np.eye(8)), pnn.Activation(activation)] if apart else [dense])
    (row,) = pnn.compare(net, INPUTS[:, :8], backends=["numpy"], in_process=True, **QUICK).rows
    assert (row.state, row.parity.atol, row.parity.rtol) == ("agrees", 1e-5, 2.0**-15)
    (row,) = pnn.compare(net, INPUTS[:, :8], backends=[faulty.SKEWED], in_process=True, **QUICK).rows
    assert row.state == "differs"


def test_a_bounded_output_that_is_rescaled_has_a_scale(mnist):
    net = pnn.Network([pnn.Dense(INPUTS[:64, :3], None, "tanh"), pnn.Rescaling(3000.0, 300.0)])
    (row,) = pnn.compare(net, INPUTS, backends=["numpy"], in_process=True, **QUICK).rows
    assert (row.state, row.symptom) == ("agrees", "")
    assert row.parity.rtol > 0
    assert row.parity.max_abs_error > 1e-5


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


@pytest.mark.parametrize("size", [1e-12, 1e-6, 1.0, 1e6, 1e12])
@pytest.mark.parametrize("fault", ["transposed", "activation", "RUNS_TF32", "RUNS_BFLOAT16", "SKEWED"])
def test_a_fault_is_found_whatever_the_unit_of_the_outputs(fault, size):
    rng = np.random.default_rng(0)
    first = pnn.Dense(rng.normal(size=(64, 64)) / 8, rng.normal(size=64), "gelu")
    last = pnn.Dense(size * rng.normal(size=(64, 3)))
    net = pnn.Network([first, last])
    backend = getattr(faulty, fault, "numpy")
    match fault:
        case "transposed":
            first = pnn.Dense(first.weight.T, first.bias, "gelu")
        case "activation":
            first = first.with_activation("silu")
    options = {"backends": ["numpy", backend], "in_process": True, **QUICK}
    healthy, faulted = pnn.compare(net, INPUTS[:200], **options).rows
    if backend == "numpy":
        wanted = reference(net, INPUTS[:200].astype(np.float32), None)
        task = Task("numpy", "float32", (1,), 0, 1, 0.01)
        other = find(pnn.Network([first, last]), INPUTS[:200].astype(np.float32), task, lambda step: None)
        faulted = verdict(task, other, wanted, None, None)
    assert (healthy.state, faulted.state) == ("agrees", "differs")


AMPLIFYING = {
    "raw pixels": ["sigmoid", "sigmoid", "softmax"],
    "many layers": [*["selu", "gelu"] * 3, "tanh"],
    "steep": ["tanh", "tanh", "tanh", "identity"],
}


@pytest.mark.parametrize("name", AMPLIFYING)
def test_hidden_layers_that_make_much_of_rounding_are_no_fault(name):
    """Where what rounding adds up to is more than a bounded output, or the scale of another, would be allowed."""
    rng = np.random.default_rng(1)
    gain = 8 if name == "steep" else 1.5
    layers = [
        pnn.Dense(gain * rng.normal(size=(64, 64)) / 8, None, activation) for activation in AMPLIFYING[name]
    ]
    x = rng.integers(0, 256, (300, 64), dtype=np.uint8) if name == "raw pixels" else INPUTS[:300] * 30
    options = {"dtypes": ["float32", "float64", "float16"], "in_process": True, **QUICK}
    found = pnn.compare(pnn.Network(layers), x, backends=["numpy"], **options)
    assert [(row.state, row.symptom) for row in found.rows] == [("agrees", "")] * 3
    assert max(row.parity.max_abs_error / 1e-5 for row in found.rows) > 1
    (row,) = pnn.compare(pnn.Network(layers), x, backends=[faulty.RUNS_BFLOAT16], in_process=True, **QUICK).rows
    assert row.state == "differs"


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
    with pytest.raises(pnn.NetworkError, match=r"no labels: call compare\(net, data\) without labels"):
        pnn.compare(net, images, np.zeros(4, int), backends=["numpy"], in_process=True, **QUICK)


def test_one_sample_without_a_batch_is_refused(mnist):
    net, images, _ = mnist
    with pytest.raises(pnn.ShapeError, match=r"give it as x\[None\]"):
        pnn.compare(net, images[0], backends=["numpy"], **QUICK)


SHADOW = """
from pathlib import Path
Path(__file__).with_suffix(".executed").touch()
raise ImportError("the wrong one")
"""

OWN = """
import array_api_compat.numpy
from faulty import Healthy

MINE = Healthy(array_api_compat.numpy, None)
"""


@pytest.mark.parametrize("entry", ["", "absolute"])
def test_files_in_the_current_folder_shadow_nothing(mnist, tmp_path, monkeypatch, entry):
    for name in ("numpy", "json", "safetensors", "cupy", "torch", "portable_nn", "faulty"):
        (tmp_path / f"{name}.py").write_text(SHADOW)
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path) if entry else "", *sys.path])
    found = pnn.compare(*mnist, backends=["numpy", "mine:MINE"], **QUICK)
    assert [(row.state, row.symptom) for row in found.rows] == [("agrees", "")] * 2
    assert list(tmp_path.glob("*.executed")) == []


@pytest.fixture
def forked(tmp_path, monkeypatch):
    """What a process that a backend forks says: its id; and whether it was let live, once it has ended."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here: run on Linux or macOS")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setenv("FAULTY_PIPE", str(pipe))
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(reading, "rb") as file:
        yield file


def test_what_a_measured_process_forks_ends_with_it(mnist, forked):
    (row,) = pnn.compare(*mnist, backends=["faulty:FORKING"], **QUICK).rows
    assert (row.state, row.symptom) == ("agrees", "")
    os.set_blocking(forked.fileno(), True)
    assert forked.read().split(b" ", 1)[1] == b""


def test_a_fork_that_makes_itself_independent_holds_nothing_up(mnist, forked):
    (row,) = pnn.compare(*mnist, backends=["faulty:FORKING_AND_HANGING"], time_limit=4, **QUICK).rows
    assert row.symptom.startswith("no result within 4 s: it hung while")
    pid = int(os.read(forked.fileno(), 100))
    os.kill(pid, signal.SIGKILL)
    os.set_blocking(forked.fileno(), True)
    assert forked.read() == b""


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
        ({"backends": 3}, pnn.InputError, r"backends must be a list, got 3: give backends=\[3\]"),
        ({"backends": [3]}, pnn.BackendError, "a backend is named by a string such as 'torch:cuda:0', got 3"),
        ({"dtypes": 3}, pnn.InputError, "dtypes must be a list, got 3"),
        (
            {"dtypes": [3, "float16"]},
            pnn.NetworkError,
            "unknown dtype '3': choose one of float16",
        ),
        ({"dtypes": [[], "x"]}, pnn.NetworkError, "unknown dtype 'void': choose one of float16"),
        ({"batch_sizes": 10}, pnn.InputError, r"batch_sizes must be a list, got 10: give batch_sizes=\[10\]"),
        ({"batch_sizes": ["10"]}, pnn.InputError, r"batch_sizes\[0\] must be an integer, got '10'"),
        ({"batch_sizes": "10"}, pnn.InputError, r"batch_sizes\[0\] must be an integer, got '1'"),
        ({"batch_sizes": [1, 2.5]}, pnn.InputError, r"batch_sizes\[1\] must be an integer, got 2.5"),
        ({"batch_sizes": [True]}, pnn.InputError, r"batch_sizes\[0\] must be an integer, got True"),
        ({"batch_sizes": [0]}, pnn.ShapeError, r"batch_sizes\[0\] must be at least 1, got 0"),
        ({"warm_up": "3"}, pnn.InputError, "warm_up must be an integer, got '3': give for instance warm_up=2"),
        ({"warm_up": 1.0}, pnn.InputError, "warm_up must be an integer"),
        ({"warm_up": -1}, pnn.InputError, "warm_up=-1"),
        ({"iterations": "1"}, pnn.InputError, "iterations must be an integer, got '1'"),
        ({"iterations": 0}, pnn.InputError, "iterations=0"),
        ({"budget": "1"}, pnn.InputError, "budget must be a number, got '1': give for instance budget=0.5"),
        ({"budget": float("nan")}, pnn.InputError, "budget=nan"),
        ({"time_limit": None}, pnn.InputError, "time_limit must be a number, got None"),
        ({"time_limit": 0}, pnn.InputError, "time_limit=0"),
        ({"atol": "1e-5"}, pnn.InputError, "atol must be a number, got '1e-5'"),
        ({"rtol": [0.1]}, pnn.InputError, "rtol must be a number"),
    ],
)
def test_misuse(mnist, options, error, words):
    with pytest.raises(error, match=words):
        pnn.compare(*mnist, **options)


def test_without_threadpoolctl_no_pools_are_told(mnist, monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    (row,) = pnn.compare(*mnist, backends=["numpy"], in_process=True, **QUICK).rows
    assert (row.state, row.measured.threads) == ("agrees", ())


def test_batch_sizes_of_numpy_are_written_as_json(mnist):
    options = QUICK | {"batch_sizes": np.array([2, 3])}
    found = pnn.compare(*mnist, backends=["numpy"], in_process=True, **options)
    assert json.loads(to_json(found))["batch_sizes"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.arange(3), "500 samples"),
        (np.full(500, 10), "10 to 10"),
        (np.zeros(500), "float64"),
        (np.full(500, "7", "T"), "labels are strings such as '7'"),
    ],
)
def test_labels_that_do_not_fit(mnist, labels, words):
    net, images, _ = mnist
    with pytest.raises(pnn.ShapeError, match=words):
        pnn.compare(net, images, labels, backends=["numpy"], **QUICK)


def test_no_images(mnist):
    net, images, _ = mnist
    with pytest.raises(pnn.ShapeError, match="no samples"):
        pnn.compare(net, images[:0], backends=["numpy"], **QUICK)


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


def a_row(backend, speeds, state="agrees"):
    measured = Measured(
        device="cpu",
        version="1",
        precision="float32",
        stale=False,
        batch_effect=0.0,
        cold_start=ColdStart(0.0, 0.0, 0.0),
        speeds=tuple(
            Speed(size, False, *(size / rate * noise for noise in (0.98, 1, 1.05)), 9)
            for size, rate in speeds.items()
        ),
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
    found = Comparison("m", "n", None, 1, (1, 2, 4, 8), rows, environment())
    assert [(winner.batch_size, winner.name) for winner in found.crossover()] == [
        (1, "small float32"),
        (4, "large float32"),
    ]
    assert found.crossover(transfers=True) == ()


def crossover(*rows):
    found = Comparison("m", "n", None, 1, (1, 2, 4, 8), rows, environment())
    return [(winner.batch_size, winner.name, winner.ties) for winner in found.crossover()]


def test_a_verdict_changes_only_where_intervals_are_apart():
    """Two that take turns by a twentieth, then by a fifth of which the calls of a tenth overlap."""
    one = a_row("one", {1: 100.0, 2: 105.0, 4: 100.0, 8: 105.0})
    two = a_row("two", {1: 105.0, 2: 100.0, 4: 105.0, 8: 100.0})
    assert crossover(one, two) == [(1, "two float32", ("one float32",))]
    slow = a_row("slow", {1: 10.0, 2: 10.0, 4: 10.0, 8: 10.0})
    assert crossover(one, two, slow) == crossover(one, two)
    winning = a_row("winning", {1: 1.0, 2: 1.0, 4: 1.0, 8: 300.0})
    assert crossover(one, two, winning) == [
        (1, "two float32", ("one float32",)),
        (8, "winning float32", ()),
    ]
    settling = a_row("two", {1: 105.0, 2: 100.0, 4: 150.0, 8: 150.0})
    assert crossover(one, settling) == [(1, "two float32", ())]


@pytest.mark.parametrize(("p90", "apart"), [(0.94, True), (1.0, False)])
def test_a_few_slow_calls_leave_it_open(p90, apart):
    speeds = Speed(1, False, 0.7, 0.8, p90, 9), Speed(1, False, 0.95, 1.0, 1.05, 9)
    assert speeds[0].beats(speeds[1]) is apart
    assert not speeds[1].beats(speeds[0])


def test_a_lead_of_less_than_a_tenth_is_noise_of_one_call():
    assert not Speed(1, False, 1.0, 1.0, 1.0, 1).beats(Speed(1, False, 1.05, 1.05, 1.05, 1))
    assert Speed(1, False, 1.0, 1.0, 1.0, 1).beats(Speed(1, False, 1.2, 1.2, 1.2, 1))
