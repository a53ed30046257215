"""Hostile files of every format: only errors of this package, nothing run, time and memory of their own size.

Mutants of genuine files are loaded by `hostile.py`, a process that watches itself; files that ask for much are
those of `oversized.py`. What a longer run found is here as a test of its own.
"""

import json
import os
import pathlib
import sys
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from helpers import run_python
from safetensors.numpy import save_file

import portable_nn as pnn

for name in ("h5py", "joblib", "keras", "onnx", "skl2onnx", "sklearn", "torch"):
    pytest.importorskip(name, reason=f"it writes the files: pip install {name}")
if sys.platform != "linux":
    pytest.skip("memory is limited by the means of Linux", allow_module_level=True)

import onnx  # noqa: E402
from oversized import FILES  # noqa: E402

HERE = pathlib.Path(__file__).parent
EXTRA = 2**26  # bytes of memory that a file may take besides its size
WORK = 10  # calls of functions a byte, and as many for 10,000 bytes besides


@pytest.fixture(scope="session")
def genuine(tmp_path_factory):
    """A folder of one file of each kind."""
    folder = tmp_path_factory.mktemp("genuine")
    run_python(str(HERE / "genuine.py"), str(folder), env=os.environ | {"KERAS_BACKEND": "numpy"})
    return folder


def report_of(folder, count, seed):
    program = str(HERE / "hostile.py")
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    return json.loads(run_python("-W", "error", program, str(folder), str(count), str(seed), env=environment))


@pytest.mark.parametrize("count", [1_500, pytest.param(20_000, marks=pytest.mark.slow)])
def test_mutants(genuine, count):
    report = report_of(genuine, count, seed=count)
    assert report["failures"] == []
    assert report["imported"] == []
    assert report["most"] < WORK
    kinds = {path.name for path in genuine.iterdir()}
    assert report["refused"].keys() == kinds
    assert sum(report["loaded"].values()) > count / 8
    assert count < 10_000 or report["loaded"].keys() == kinds


def calls(path, options):
    """How many functions are called to load a file."""
    made = 0

    def count(frame, event, argument):
        nonlocal made
        made += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        with suppress(pnn.PortableNNError):
            pnn.load(path, **options)
    finally:
        sys.setprofile(before)
    return made


@pytest.mark.parametrize("write", FILES, ids=lambda write: write.__name__)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_four_times_the_file_takes_four_times_the_work(tmp_path, write):
    small, large = (tmp_path / f"{n}{FILES[write]}" for n in "ab")
    options = write(small, 200)
    write(large, 800)
    calls(small, options)  # what is imported and cached by then counts for neither
    assert calls(large, options) < 5 * calls(small, options) + 5000


@pytest.mark.slow
@pytest.mark.parametrize("write", FILES, ids=lambda write: write.__name__)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_a_file_takes_no_more_memory_than_its_size_and_64_mib(tmp_path, write):
    path = tmp_path / f"net{FILES[write]}"
    options = write(path, 3000)
    tracemalloc.start()
    with suppress(pnn.PortableNNError):
        pnn.load(path, **options)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < EXTRA + path.stat().st_size


def of_own(path, value, outputs):
    """A file of a network of one weight, with a sample."""
    metadata = {"format": "portable_nn", "version": "2", "meaning": "{}"}
    metadata["architecture"] = json.dumps([{"layer": "Dense", "activation": "identity"}])
    samples = {"samples.inputs": np.array([[value]]), "samples.outputs": np.array(outputs)}
    save_file({"0.weight": np.array([[value]]), "0.bias": np.zeros(1), **samples}, path, metadata)
    return path


@pytest.mark.parametrize(("value", "output"), [(1e300, 1.0), (1.0, 1e308), (1.0, np.inf)])
def test_samples_that_overflow_are_an_accuracy_error(tmp_path, value, output):
    with pytest.raises(pnn.errors.AccuracyError, match="off what the file says"):
        pnn.load(of_own(tmp_path / "net.safetensors", value, [[output]]))


@pytest.mark.parametrize("outputs", [[[1.0], [1.0]], 1.0, [[[1.0]]], np.zeros((0, 1))])
def test_samples_whose_numbers_differ(tmp_path, outputs):
    with pytest.raises(pnn.PortableNNError, match=r"samples"):
        pnn.load(of_own(tmp_path / "net.safetensors", 1.0, outputs))


def of_onnx(path, nodes, constants, shape=("n", "k"), outputs=("y",)):
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [value("x", 1, shape)],
        [onnx.helper.make_empty_tensor_value_info(name) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    path.write_bytes(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)]).SerializeToString()
    )
    return path


def test_a_graph_that_does_not_take_what_comes(tmp_path, torch):
    make = onnx.helper.make_node
    weight = np.ones((3, 3), np.float32)
    nodes = [make("Tanh", ["x"], ["t"]), make("MatMul", ["t", "w"], ["h"]), make("Add", ["t", "h"], ["y"])]
    net = pnn.load(of_onnx(tmp_path / "net.onnx", nodes, {"w": weight}))
    for zeros in (np.zeros, torch.zeros):
        assert net(zeros((2, 3))).shape == (2, 3)
        with pytest.raises(pnn.ShapeError, match=r"does not take t of shape \(2, 4\)"):
            net(zeros((2, 4)))


@pytest.mark.parametrize("attribute", [{}, {"then_branch": 1, "else_branch": 2}])
def test_a_condition_without_branches(tmp_path, attribute):
    node = onnx.helper.make_node("If", ["c"], ["y"], **attribute)
    with pytest.raises(pnn.FormatError, match=r"If that makes y: it lacks the graph of a branch"):
        pnn.load(of_onnx(tmp_path / "net.onnx", [node], {"c": np.array(True)}))


def test_lengths_that_are_no_integers(tmp_path):
    make = onnx.helper.make_node
    nodes = [make("Tanh", ["x"], ["t"]), make("Reshape", ["t", "s"], ["y"])]
    path = of_onnx(tmp_path / "net.onnx", nodes, {"s": np.array([np.inf, 1], np.float32)}, ("n", 4))
    with pytest.raises(pnn.FormatError, match=r"net\.onnx"):
        pnn.load(path)
