"""Comparisons: what is measured, and what is refused."""

import json
import sys

import numpy as np
import pytest
from comparing import INPUTS, QUICK

import portable_nn as pnn
from portable_nn.report.interchange import to_json


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
        ({"batch_sizes": "10"}, pnn.InputError, r"batch_sizes must be a list, got '10': give"),
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
