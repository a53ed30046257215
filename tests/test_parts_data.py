"""Data of several inputs by name, results of several outputs: from files, into files, compared, printed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from branching import HEADS, LABELS, PLACES, TWO, data, wanted, wanted_labels

import portable_nn as pnn
from portable_nn.errors import FormatError, InputError, InputWarning, NetworkError, OutputError, ShapeError
from portable_nn.formats.architecture import network_of, parts_of
from portable_nn.layers import Graph, Node, Value
from portable_nn.operators import OPERATORS
from portable_nn.results import files_of

GIVEN = data(50, seed=3)
EXACT = wanted(GIVEN)


def check(found, exact=EXACT):
    assert list(found) == list(exact)
    np.testing.assert_allclose(found["y"], exact["y"], atol=1e-5)
    np.testing.assert_array_equal(found["k"], exact["k"])


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder that holds the samples as one .npz, and each as a file of its own."""
    monkeypatch.chdir(tmp_path)
    np.savez("all.npz", **GIVEN, labels=wanted_labels(GIVEN))
    for name, array in GIVEN.items():
        np.save(f"{name}.npy", array)
    for name, net in {"two": TWO, "labels": LABELS, "heads": HEADS, "places": PLACES}.items():
        pnn.save(net, f"{name}.safetensors")
    return tmp_path


WANTED_DICT = r"several arrays: give a dict, \{'x': …, 'place': …, 'z': …\}, got ndarray"


@pytest.mark.parametrize("batch_size", [None, 1, 7])
def test_arrays_by_name_give_outputs_by_name(backend, batch_size):
    if not backend.has_labels():
        pytest.skip("argmax gives integers that the device has not")
    found = pnn.infer(TWO, GIVEN, outputs=True, backend=backend, batch_size=batch_size)
    assert all(type(array) is np.ndarray for array in found.values())
    check(found)
    labels = pnn.infer(LABELS, GIVEN, backend=backend, batch_size=batch_size)
    np.testing.assert_array_equal(labels, wanted_labels(GIVEN))


def parts():
    """Batches that fill the same arrays again and again."""
    buffer = {name: np.empty_like(array[:20]) for name, array in GIVEN.items()}
    for start in range(0, 50, 20):
        n = min(20, 50 - start)
        for name, array in GIVEN.items():
            buffer[name][:n] = array[start : start + n]
        yield {name: array[:n] for name, array in buffer.items()}


@pytest.mark.parametrize("options", [{}, {"workers": 2, "batch_size": 6}, {"batch_size": 3}])
def test_sources(files, options):
    for source in (
        parts(),
        [{name: array.tolist() for name, array in GIVEN.items()}],
        "all.npz",
        Path("all.npz"),
        ["all.npz"],
        {"x": "x.npy", "place": Path("place.npy"), "z": GIVEN["z"]},
        {name: np.load(f"{name}.npy", mmap_mode="r") for name in GIVEN},
    ):
        check(pnn.infer(TWO, source, outputs=True, **options))
    np.savez("all2.npz", **GIVEN)
    twice = pnn.infer(TWO, "all*.npz", outputs=True, **options)
    np.testing.assert_allclose(twice["y"], np.concatenate([EXACT["y"]] * 2), atol=1e-5)


def test_one_input_and_places_alone(files):
    found = pnn.infer(HEADS, GIVEN["x"], outputs=True, batch_size=7)
    assert {name: array.shape for name, array in found.items()} == {"t": (50, 6), "e": (50, 6)}
    np.testing.assert_allclose(found["e"], np.exp(found["t"]), rtol=1e-5)
    for source in (GIVEN["place"], "place.npy", {"place": GIVEN["place"]}):
        np.testing.assert_array_equal(pnn.infer(PLACES, source), PLACES.predict(GIVEN["place"]))


@pytest.mark.parametrize("source", [{name: array[:0] for name, array in GIVEN.items()}, []])
def test_no_samples(source, tmp_path):
    found = pnn.infer(TWO, source, outputs=True)
    assert {name: (array.shape, array.dtype) for name, array in found.items()} == {
        "y": ((0, 6), np.float32),
        "k": ((0,), np.int64),
    }
    written = pnn.infer(TWO, source, outputs=True, out=tmp_path / "none")
    assert {name: array.shape for name, array in written.items()} == {"y": (0, 6), "k": (0,)}


@pytest.mark.parametrize(
    ("net", "source", "options", "error", "match"),
    [
        (
            TWO,
            GIVEN,
            {},
            NetworkError,
            r"y, k, which are no labels: call infer\(net, data, outputs=True\)",
        ),
        (LABELS, GIVEN["x"], {}, InputError, WANTED_DICT),
        (LABELS, [GIVEN["x"]], {}, InputError, WANTED_DICT),
        (LABELS, {"x": GIVEN["x"]}, {}, InputError, "got one of x"),
        (LABELS, [GIVEN, {"x": GIVEN["x"]}], {}, InputError, "got one of x"),
        (
            LABELS,
            GIVEN | {"z": GIVEN["z"][:9]},
            {},
            ShapeError,
            "as many samples .* 50 of x, .* 9 of z",
        ),
        (LABELS, {name: array[0] for name, array in GIVEN.items()}, {}, ShapeError, "got shape"),
        (LABELS, "x.npy", {}, FormatError, r"one array: give a \.npz that holds x, place, z by name"),
        (LABELS, "none.npz", {}, FormatError, "none.npz"),
        (HEADS, GIVEN, {"outputs": True}, InputError, "takes one array, got a dict of x, place, z"),
        (TWO, GIVEN, {"outputs": True, "out": "r.npy"}, InputError, "go to a folder or a .zarr"),
    ],
)
def test_what_does_not_fit(files, net, source, options, error, match):
    with pytest.raises(error, match=match):
        pnn.infer(net, source, **options)


def test_samples_of_nothing_but_nan_in_one_input(files):
    x, z = GIVEN["x"].copy(), GIVEN["z"].copy()
    x[3], z[3:5] = np.nan, np.nan
    with pytest.warns(InputWarning, match="nothing but nan in 2 of the samples"):
        pnn.infer(LABELS, GIVEN | {"x": x, "z": z}, batch_size=10)


@pytest.mark.parametrize("out", ["results", "results.zarr"])
def test_results_appear_together(files, out):
    if out.endswith(".zarr"):
        pytest.importorskip("zarr", reason="pip install zarr")
    before = set(os.listdir())
    check({name: array[:] for name, array in pnn.infer(TWO, "all.npz", outputs=True, out=out, block=20).items()})
    assert set(os.listdir()) - before == {out}
    assert set(os.listdir(out)) == ({"y", "k", "zarr.json"} if out.endswith(".zarr") else {"y.npy", "k.npy"})
    with pytest.raises(OutputError, match="exists: write to another file"):
        pnn.infer(TWO, GIVEN, outputs=True, out=out)
    found = pnn.infer(
        TWO, {name: array[:9] for name, array in GIVEN.items()}, outputs=True, out=out, overwrite=True
    )
    assert found["y"].shape == (9, 6)
    assert set(os.listdir()) - before == {out}


def test_names_that_are_one_file_are_numbered():
    names = ["a:b", "a/b", "A_b", "a_b-2", "", "."]
    files = ["a_b", "a_b-2", "A_b-3", "a_b-2-2", "_", "_-2"]
    assert files_of("results", names) == {name: f"{file}.npy" for name, file in zip(names, files, strict=True)}
    assert files_of("results.zarr", names) == dict(zip(names, files, strict=True))


def test_a_group_is_one_for_zarr(files):
    zarr = pytest.importorskip("zarr", reason="pip install zarr")
    pnn.infer(TWO, "all.npz", outputs=True, out="r.zarr", block=20)
    group = zarr.open_group("r.zarr", mode="r")
    assert sorted(group.array_keys()) == ["k", "y"]
    assert group["y"].chunks == (20, 6)


def test_no_folder_is_written_over_that_holds_anything_else(files):
    pnn.infer(TWO, "all.npz", outputs=True, out="results")
    Path("results", "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="results is a folder that holds other files: name another"):
        pnn.infer(TWO, GIVEN, outputs=True, out="results", overwrite=True)
    with pytest.raises(InputError, match=r"name labels\.npy or labels\.zarr, got results"):
        pnn.infer(LABELS, GIVEN, out="results", overwrite=True)
    os.remove("results/notes.txt")
    np.save("results/y.npy", GIVEN["x"])
    with pytest.raises(OutputError, match="results is an input, which it would destroy"):
        pnn.infer(TWO, GIVEN | {"x": "results/y.npy"}, outputs=True, out="results", overwrite=True)
    assert np.load("results/y.npy").shape == (50, 4)


class StoppedError(Exception):
    """What ends a run."""


def stop(n):
    raise StoppedError


def test_a_run_that_cannot_be_gone_on_with_leaves_nothing(files):
    before = set(os.listdir())
    with pytest.raises(StoppedError):
        pnn.infer(TWO, GIVEN, outputs=True, out="results", batch_size=10, progress=stop)
    assert set(os.listdir()) == before


def test_a_run_that_can_be_gone_on_with_is_kept(files):
    before = set(os.listdir())
    with pytest.raises(StoppedError):
        pnn.infer(TWO, "all.npz", outputs=True, out="results", batch_size=10, progress=stop)
    (partial,) = set(os.listdir()) - before
    assert partial != "results"
    check(pnn.infer(TWO, "all.npz", outputs=True, out="results", batch_size=10))
    assert set(os.listdir()) - before == {"results"}


KILLED = """
import os, signal, sys
import portable_nn as pnn

done = []

def progress(n):
    done.append(n)
    if len(done) == 4:
        os.kill(os.getpid(), signal.SIGKILL)

net = pnn.load("two.safetensors")
pnn.infer(net, "all.npz", outputs=True, out=sys.argv[1], batch_size=7, block=7, progress=progress)
"""


def tree(folder):
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.skipif(
    not hasattr(signal, "SIGKILL"), reason="SIGKILL is a POSIX signal: run this on Linux or macOS"
)
@pytest.mark.parametrize("suffix", ["", ".zarr"])
def test_a_killed_run_is_completed_to_the_same_bytes(files, suffix):
    if suffix:
        pytest.importorskip("zarr", reason="pip install zarr")
    root = str(Path(pnn.__file__).parents[1])
    options = {"outputs": True, "batch_size": 7, "block": 7}
    pnn.infer(pnn.load("two.safetensors"), "all.npz", out=f"whole{suffix}", **options)
    before = set(os.listdir())
    command = [sys.executable, "-c", KILLED, f"r{suffix}"]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": root}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not os.path.exists(f"r{suffix}")
    (partial,) = set(os.listdir()) - before
    (longer,) = Path(partial).glob("k.npy") if not suffix else [None]
    if longer:  # as if the kill had come after more of one output than of the other
        longer.write_bytes(longer.read_bytes()[:-50])
    seen = []
    pnn.infer(pnn.load("two.safetensors"), "all.npz", out=f"r{suffix}", progress=seen.append, **options)
    assert seen[0] > 7  # it went on, and did not start anew
    assert set(os.listdir()) - before == {f"r{suffix}"}
    assert tree(f"r{suffix}") == tree(f"whole{suffix}")


def test_accuracy(backend):
    if not backend.has_labels():
        pytest.skip("argmax gives integers that the device has not")
    truth = np.asarray(LABELS.classes)[wanted_labels(GIVEN)]
    truth[:5] = LABELS.classes[0]
    right = int((truth == np.asarray(LABELS.classes)[wanted_labels(GIVEN)]).sum())
    for options in ({}, {"per_sample": True}, {"batch_size": 7}):
        assert pnn.evaluate(LABELS, GIVEN, truth, backend=backend, **options).correct == right
    with pytest.raises(NetworkError, match="several outputs, y, k, which are no labels"):
        pnn.evaluate(TWO, GIVEN, truth)


@pytest.mark.parametrize("net", [TWO, LABELS, HEADS, PLACES], ids=["two", "labels", "heads", "places"])
def test_verified_on_every_backend(backend, net):
    if not backend.has_labels() and net is not HEADS:
        pytest.skip("the device has not the integers that the network takes")
    found = net.verify(backend)
    assert found.samples == 4
    assert found.share < 1


def test_what_differs_in_one_output_is_found(torch, monkeypatch):
    def off(x, *, xp):
        return x + 0.01 * ("torch" in xp.__name__)

    monkeypatch.setitem(OPERATORS, "com.example.Off", {1: off})
    nodes = [Node("Add", ("x", "z"), ("y",)), Node("com.example.Off", ("y",), ("e",))]
    inputs = [Value(name, "float32", (2,)) for name in ("x", "z")]
    net = pnn.Network([Graph(nodes, inputs, ["y", "e"], {"": 20, "com.example": 1})])
    assert net.verify("numpy").share < 1
    with pytest.raises(pnn.AccuracyError, match=r"outputs on torch:cpu in float32 differ by up to 1\.0e-02"):
        net.verify("torch")
    given = {"x": GIVEN["z"], "z": GIVEN["z"]}
    found = pnn.compare(net, given, backends=["torch"], batch_sizes=(1,), budget=0.01, in_process=True)
    assert found.rows[0].state == "differs"


@pytest.mark.parametrize(
    ("net", "given"), [(TWO, GIVEN), (LABELS, GIVEN), (HEADS, GIVEN["x"]), (PLACES, GIVEN["place"])]
)
def test_compared(torch, net, given):
    options = {"batch_sizes": (1,), "budget": 0.01, "in_process": True}
    found = pnn.compare(net, given, backends=["numpy", "torch"], dtypes=["float32", "float64"], **options)
    assert [row.state for row in found.rows] == ["agrees"] * 4
    assert found.samples == 50


def test_compared_in_a_process_of_its_own_with_labels():
    truth = wanted_labels(GIVEN)
    found = pnn.compare(LABELS, GIVEN, truth, backends=["numpy"], batch_sizes=(1, 9), budget=0.01)
    assert (found.rows[0].state, found.rows[0].labels.correct) == ("agrees", 50)
    with pytest.raises(NetworkError, match=r"no labels: call compare\(net, data\) without labels"):
        pnn.compare(TWO, GIVEN, truth, backends=["numpy"])
    with pytest.raises(ShapeError, match="no samples to compare on"):
        pnn.compare(TWO, {name: array[:0] for name, array in GIVEN.items()}, backends=["numpy"])


@pytest.fixture
def command(files, monkeypatch, capsys):
    """Run a command in the folder with the files: exit status, stdout and stderr."""
    pytest.importorskip("typer", reason='pip install "portable-nn[cli]"')
    from portable_nn.__main__ import main

    def run(line):
        monkeypatch.setattr(sys, "argv", ["portable-nn", *line.split()])
        with pytest.raises(SystemExit) as caught:
            main()
        return (caught.value.code or 0, *capsys.readouterr())

    return run


def test_printed_a_column_for_each_value(command):
    status, out, error = command("predict all.npz -m two.safetensors --outputs")
    head, *lines = out.splitlines()
    assert (status, error, head.split("\t")) == (0, "", [*(f"y[{i}]" for i in range(6)), "k"])
    rows = np.array([line.split("\t") for line in lines], dtype=float)
    check({"y": rows[:, :6], "k": rows[:, 6]})
    assert command("predict all.npz -m labels.safetensors")[1].split() == [
        LABELS.classes[i] for i in wanted_labels(GIVEN)
    ]


def test_printed_as_json(command):
    document = json.loads(command("predict all.npz -m two.safetensors --json")[1])
    assert (document["samples"], document["labels"]) == (50, None)
    check(document["outputs"])


def test_written(command):
    assert command("predict all.npz -m two.safetensors --outputs --out results") == (
        0,
        "50 rows of outputs of each of y, k written to results\n",
        "",
    )
    check({name: np.load(f"results/{name}.npy") for name in ("y", "k")})
    assert command("predict all.npz -m two.safetensors --outputs --out results --force")[0] == 0


def test_what_files_take_and_give_is_told(command):
    out = command("inspect two.safetensors")[1]
    assert "takes     x float32 (4,), place int64 (), z float32 (2,)\ngives     y, k\n" in out
    document = json.loads(command("inspect two.safetensors --json")[1])
    assert document["takes"] == {"x": ["float32", [4]], "place": ["int64", []], "z": ["float32", [2]]}
    assert document["gives"] == ["y", "k"]


def test_summary_shows_what_is_taken_and_given_by_name():
    _, inputs, graph, _ = TWO.summary().splitlines()
    assert inputs.split("  ")[0] == "inputs"
    assert "x (4,), place (), z (2,)" in inputs
    assert "y (6,), k ()" in graph
    assert "inputs" not in HEADS.summary()
    assert "inputs" in TWO._repr_html_()


def test_other_commands(command):
    assert "correct   50/50" in command("evaluate --model labels.safetensors --data all.npz --explain")[1]
    assert "agrees" in command("verify two.safetensors -b numpy")[1]
    line = "compare --model two.safetensors --data all.npz -b numpy --in-process --batch-size 1 --iterations 1"
    assert command(f"{line} --html page.html")[0] == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "predict all.npz -m two.safetensors",
            "outputs, y, k, which are no labels: call portable-nn predict --outputs",
        ),
        ("predict all.npz -m two.safetensors --outputs -o r.npy", "several outputs go to a folder or a .zarr"),
        (
            "predict all.npz -m two.safetensors --outputs --array x",
            "--array names one array, and the network takes x",
        ),
        ("predict x.npy -m two.safetensors --outputs", "x.npy holds one array"),
        ("evaluate -m labels.safetensors", "takes x, place, z, and no MNIST images: give --data"),
        ("evaluate -m labels.safetensors --data x.npy", "give a .npz"),
        ("plot mistakes -m labels.safetensors --data all.npz -o m.png", "mistakes are of images"),
    ],
)
def test_misuse_is_one_line(command, line, message):
    if line.startswith("plot"):
        pytest.importorskip("matplotlib", reason='pip install "portable-nn[plot]"')
    status, out, error = command(line)
    assert (status, out, len(error.splitlines())) == (2, "", 1)
    assert message in error


@pytest.mark.parametrize(
    ("net", "given"), [(TWO, GIVEN), (LABELS, GIVEN), (HEADS, GIVEN["x"]), (PLACES, GIVEN["place"])]
)
def test_written_as_onnx(files, net, given):
    pytest.importorskip("onnx", reason='pip install "portable-nn[onnx]"')
    runtime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")
    pnn.save(net, "net.onnx")
    session = runtime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    theirs = session.run(None, given if isinstance(given, dict) else {names[0]: given})
    ours, again = net(given), pnn.load("net.onnx")(given)
    if not isinstance(ours, dict):
        ours, again = {"output": ours}, {"output": again}
    assert [value.name for value in session.get_outputs()] == list(ours) == list(again)
    for name, array in zip(ours, theirs, strict=True):
        assert array.dtype == ours[name].dtype == again[name].dtype
        np.testing.assert_allclose(ours[name], array, atol=1e-6)
        np.testing.assert_allclose(again[name], array, atol=1e-6)


# Files


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize("net", [TWO, LABELS, HEADS, PLACES], ids=["two", "labels", "heads", "places"])
def test_a_saved_network_is_held_to_its_samples(tmp_path, net, suffix):
    path = tmp_path / f"net{suffix}"
    pnn.save(net, path)
    assert repr(pnn.load(path)) == repr(net)
    graph = next(layer for layer in net.layers if isinstance(layer, Graph))
    other = graph.map(lambda array: array * np.float32(1.01))
    metadata, tensors = parts_of(net)
    _, changed = parts_of(pnn.Network([other if layer is graph else layer for layer in net.layers]))
    kept = {name: array for name, array in tensors.items() if name.startswith("samples")}
    with pytest.raises(pnn.AccuracyError, match=r"what the network makes of the file's samples is up to .* off"):
        network_of(metadata, changed | kept, "the file")
    assert network_of(metadata, changed | kept, "the file", verify=False).passes.inputs == net.passes.inputs
    name = max(kept)
    with pytest.raises(FormatError, match="samples lack some of their inputs or outputs"):
        network_of(metadata, {key: array for key, array in tensors.items() if key != name}, "the file")


def test_data_of_an_input_that_takes_any_shape():
    nodes = [
        Node("ReduceSum", ("any", "last"), ("s",), {"keepdims": 1}),
        Node("Constant", (), ("last",), {"value": np.array([-1])}),
        Node("Mul", ("s", "x"), ("y",)),
    ]
    inputs = [Value("x", "float32", (3,)), Value("any", "float32", None)]
    net = pnn.Network([Graph([nodes[1], nodes[0], nodes[2]], inputs, ["y"], {"": 20})])
    given = {"x": np.ones((8, 3), np.float32), "any": np.arange(16, dtype=np.float32).reshape(8, 2)}
    found = pnn.infer(net, given, outputs=True, batch_size=3)
    np.testing.assert_array_equal(found, np.repeat(given["any"].sum(axis=1, keepdims=True), 3, axis=1))
    with pytest.raises(ShapeError, match=r"samples along their first axis, got shape \(\)"):
        pnn.infer(net, given | {"any": np.ones((), np.float32)}, outputs=True)
