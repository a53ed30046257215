"""What rounding makes of outputs is no fault, whatever their unit; a fault beside it is found."""

import faulty
import numpy as np
import pytest
from comparing import INPUTS, QUICK

import portable_nn as pnn
from portable_nn.comparison.measuring import Task, find
from portable_nn.comparison.verdicts import reference, verdict
from portable_nn.metrics import parity


def regression(n_out, *after):
    """Outputs in the thousands, which cross 0."""
    rng = np.random.default_rng(n_out)
    hidden = pnn.Dense(rng.normal(size=(64, 50)) / 8, rng.normal(size=50), "relu")
    return pnn.Network([hidden, pnn.Dense(rng.normal(size=(50, n_out)) * 1000, None), *after])


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


def test_what_the_reference_leaves_infinite_must_be_the_same():
    reference = np.array([[np.inf, 1.0], [np.nan, 2.0]])
    same = parity(reference.astype(np.float32), reference)
    assert (same.within_tolerance, same.max_abs_error, same.non_finite) == (True, 0.0, 0)
    for other in ([[-np.inf, 1.0], [np.nan, 2.0]], [[np.inf, 1.0], [0.0, 2.0]], [[1e300, 1.0], [np.nan, 2.0]]):
        found = parity(np.array(other), reference, rtol=0.5)
        assert (found.within_tolerance, found.max_abs_error, found.max_rel_error) == (False, np.inf, np.inf)


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
