"""The examples, run as a user runs them; the long training by its pieces, and by what came of it."""

import re
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers import download, run_python

import portable_nn as pnn

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script, *arguments):
    return run_python("-W", "error", EXAMPLES / script, *arguments)


def test_every_example_is_tested_here():
    tested = {
        "chapter3.py",
        "compare_backends.py",
        "cpu_or_gpu.py",
        "emulator.py",
        "from_frameworks.py",
        "in_your_library.py",
        "train_reference.py",
    }
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested


def test_chapter3():
    lines = run("chapter3.py").splitlines()
    assert lines[0] == "Chapter 3 on numpy"
    assert "  Z1  [0.57444252 0.66818777 0.75026011]" in lines
    assert [line for line in lines if "accuracy" in line or "wrong softmax  " in line] == [
        "MNIST: one image at a time, in batches, and with the wrong softmax, whose accuracy gives nothing away.",
        "  accuracy, 10000 images one at a time  0.9352",
        "  accuracy, 10000 images in batches of 100  0.9352",
        "  the same with the wrong softmax  0.9352",
    ]


def test_chapter3_elsewhere(array_api_strict):
    lines = run("chapter3.py", "--backend", "array_api_strict:device1", "--one-by-one", "50").splitlines()
    assert lines[0] == "Chapter 3 on array_api_strict:device1"
    assert lines[-1] == "  the same with the wrong softmax  0.9352"


def test_from_frameworks(torch):
    pytest.importorskip("sklearn", reason="pip install scikit-learn")
    differences = re.findall("difference of outputs: (.+)", run("from_frameworks.py"))
    assert len(differences) >= 4
    assert max(map(float, differences)) < 1e-5


def test_emulator(torch, jax, tmp_path):
    wheel = download(tmp_path, "cosmopower-jax==0.5.8")
    with zipfile.ZipFile(wheel) as archive:
        model = archive.extract("cosmopower_jax/trained_models/cmb_tt.pkl", tmp_path)
    lines = run("emulator.py", model).splitlines()
    assert lines[0] == "parameters: omega_b omega_cdm h tau_reio n_s ln10^{10}A_s"
    assert lines[1] == "NumPy: 2507 modes, from l=2 to l=2508"
    by_library = [
        [float(value) for value in re.findall(r"-?\d+\.\d*", line.partition(":")[2])] for line in lines[2:]
    ]
    np.testing.assert_allclose(*by_library, atol=0.002)
    assert by_library[0][-1] == pytest.approx(1, abs=0.01)  # the spectrum is proportional to the amplitude
    assert len((EXAMPLES / "emulator.py").read_text().splitlines()) < 40


def test_compare_backends(tmp_path, monkeypatch, capsys):
    pytest.importorskip("jinja2", reason='pip install "portable-nn[cli,plot]"')
    import compare_backends

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["compare_backends.py", "numpy", "array_api_strict"])
    compare_backends.main()
    assert "All agree with NumPy in float64" in capsys.readouterr().out
    assert (tmp_path / "comparison.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_cpu_or_gpu(monkeypatch, capsys):
    import cpu_or_gpu

    monkeypatch.setattr(cpu_or_gpu, "gpus", list)
    cpu_or_gpu.main()
    assert capsys.readouterr().out.startswith("No library here can use a GPU")
    monkeypatch.setattr(cpu_or_gpu, "gpus", lambda: ["array_api_strict:device1"])
    monkeypatch.setattr(cpu_or_gpu, "SWEEP", (1, 64))
    cpu_or_gpu.main()
    assert "agree with NumPy in float64" in capsys.readouterr().out


def test_in_your_library():
    lines = run("in_your_library.py").splitlines()
    assert lines[0] == "numpy [7 2 1] [0.992 0.969 0.989] ndarray"
    assert len({line.partition("[")[2].rpartition(" ")[0] for line in lines}) == 1


def test_training_starts_from_the_architecture_of_the_embedded_network(torch):
    import train_reference

    net = train_reference.initial_network(np.random.default_rng(0))
    assert net.same_architecture(pnn.load("mnist"))
    for layer, (n_in, n_out) in zip(net.layers[1:], pairwise((784, 50, 100, 10)), strict=True):
        limit = (6 / (n_in + n_out)) ** 0.5
        assert 0.99 * limit < float(layer.weight.detach().abs().max()) <= limit
        assert not layer.bias.detach().any()


def test_a_step_against_the_gradient_of_the_forward_pass_lowers_the_loss(torch, mnist_test):
    import train_reference

    images, labels = (torch.asarray(array[:100]) for array in mnist_test)
    net = train_reference.initial_network(np.random.default_rng(0))
    weights = [array for layer in net.layers for array in layer.arrays.values()]

    def loss():
        return torch.nn.functional.cross_entropy(net.logits(images), labels)

    before = loss()
    gradients = torch.autograd.grad(before, weights)
    assert all(gradient.any() for gradient in gradients)
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight -= 0.01 * gradient
        assert loss() < before


def test_the_embedded_network_keeps_its_promises(mnist_test):
    accuracy, margin = accuracy_and_margin_by_numpy(*mnist_test)
    assert accuracy == 0.9352
    assert margin >= 1e-3


def test_what_the_training_watches(torch, mnist_test):
    import train_reference

    images, labels = (torch.asarray(array) for array in mnist_test)
    watched = train_reference.accuracy_and_margin(pnn.load("mnist"), images.double(), labels)
    assert watched == pytest.approx(accuracy_and_margin_by_numpy(*mnist_test))


def accuracy_and_margin_by_numpy(images, labels):
    net = pnn.load("mnist")
    assert {array.dtype.name for layer in net.layers for array in layer.arrays.values()} == {"float32"}
    logits = net.logits(images.astype(np.float64))
    second, first = np.sort(logits, axis=1)[:, -2:].T
    return np.mean(np.argmax(logits, axis=1) == labels), np.min(first - second)
