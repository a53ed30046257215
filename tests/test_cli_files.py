"""`portable-nn convert`, `inspect` and `verify`."""

import json
import pickle
import subprocess

import numpy as np
import pytest
from commands import MODULE, environment

import portable_nn as pnn

pytest.importorskip("typer", reason='pip install "portable-nn[cli]"')

RNG = np.random.default_rng(1)
ARRAYS = {name: RNG.normal(size=shape) for name, shape in (("W1", (4, 5)), ("b1", 5), ("W2", (5, 3)), ("b2", 3))}
NET = pnn.Network(
    [pnn.Rescaling(0.1), pnn.Dense(ARRAYS["W1"], ARRAYS["b1"], "tanh"), pnn.Dense(ARRAYS["W2"], None, "softmax")],
    classes=["cat", "dog", "eel"],
    inputs=["a", "b", "c", "d"],
    input_range=(0, 10),
    input_dtype="float32",
)


@pytest.fixture
def run(tmp_path):
    def run(*arguments, status=0):
        done = subprocess.run(
            [*MODULE, *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=environment(),
            check=False,
        )
        assert done.returncode == status, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        return done.stdout if status in (0, 1) else done.stderr

    return run


@pytest.mark.parametrize("target", ["net.npz", "net.safetensors"])
def test_convert_keeps_all_that_is_known(run, tmp_path, target):
    pnn.save(NET, tmp_path / "from.npz")
    assert f"written to {target}" in run("convert", "from.npz", target)
    again = pnn.load(tmp_path / target)
    assert again.meaning == NET.meaning
    np.testing.assert_array_equal(again(np.ones(4)), NET(np.ones(4)))


def test_convert_takes_what_a_file_does_not_say(run, tmp_path):
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps(ARRAYS))
    assert "not its activations" in run("convert", "weights.pkl", "net.npz", status=2)
    run("convert", "weights.pkl", "net.npz", "--set", "activation=relu", "--set", "last=identity",
        "--set", "rescale=0.5", "--set", "task=regression")  # fmt: skip
    net = pnn.load(tmp_path / "net.npz")
    assert repr(net) == "Network([Rescaling(0.5, 0), Dense(4, 5, 'relu'), Dense(5, 3, 'identity')])"
    assert net.task == "regression"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--set", "activation"], "--set takes NAME=VALUE with NAME one of activation, last"),
        (["--set", "colour=red"], "--set takes NAME=VALUE"),
        (["--set", "rescale=much"], "--set rescale takes a number, got 'much'"),
        (["--set", "last=relu", "--set", "last=tanh"], "--set gives last twice"),
    ],
)
def test_options_that_are_none(run, tmp_path, options, match):
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps(ARRAYS))
    assert match in run("inspect", "weights.pkl", *options, status=2)


def test_convert_loses_no_file(run, tmp_path):
    pnn.save(NET, tmp_path / "net.npz")
    before = (tmp_path / "net.npz").read_bytes()
    assert "is an input, which it would destroy" in run("convert", "net.npz", "net.npz", "--force", status=2)
    (tmp_path / "other.safetensors").write_text("mine")
    assert "exists" in run("convert", "net.npz", "other.safetensors", status=2)
    assert (tmp_path / "other.safetensors").read_text() == "mine"
    assert (tmp_path / "net.npz").read_bytes() == before
    run("convert", "net.npz", "other.safetensors", "--force")
    assert "let OUT end so" in run("convert", "net.npz", "net.pt", status=2)


def test_inspect_says_what_a_file_holds(run, tmp_path):
    pnn.save(NET, tmp_path / "net.npz")
    said = run("inspect", "net.npz")
    for words in (
        "format    npz",
        "task      classification",
        "inputs    a, b, c, d",
        "classes   cat, dog, eel",
        "range     0 to 10 (float32)",
        "executes  nothing",
        "Dense(4, 5, 'tanh')",
    ):
        assert words in said
    record = json.loads(run("inspect", "net.npz", "--json"))
    assert record["classes"] == ["cat", "dog", "eel"]
    assert record["parameters"] == 4 * 5 + 5 + 5 * 3 + 3
    assert record["bytes"] == (tmp_path / "net.npz").stat().st_size
    assert (record["input_shape"], record["executes"]) == ([4], [])


def test_inspect_shows_what_would_not_load(run, tmp_path):
    pnn.save(NET, tmp_path / "net.npz")
    arrays = dict(np.load(tmp_path / "net.npz"))
    arrays["1.bias"] = arrays["1.bias"] + 1
    np.savez(tmp_path / "changed.npz", **arrays)
    assert "off what the file says" in run("verify", "changed.npz", status=2)
    assert "Dense(4, 5, 'tanh')" in run("inspect", "changed.npz")


def test_verify_tries_backends(run, tmp_path):
    pnn.save(NET, tmp_path / "net.npz")
    said = run("verify", "net.npz", "--backend", "numpy", "--backend", "array_api_strict:device1")
    assert [line.split()[0] for line in said.splitlines()] == ["numpy", "array_api_strict:device1"]
    assert said.count("agrees") == 2
    rows = json.loads(run("verify", "net.npz", "-b", "numpy", "--json"))
    assert 0 <= rows[0]["share"] <= 1


def test_verify_says_which_backend_differs(run, tmp_path):
    pnn.save(NET, tmp_path / "net.npz")
    (tmp_path / "wrong.py").write_text(
        "import array_api_compat.numpy\n"
        "from portable_nn.backends import Backend\n"
        "class Wrong(Backend):\n"
        "    name = 'wrong'\n"
        "    def device_name(self): return ''\n"
        "    def to_numpy(self, array): return array + 0.1 * (array.dtype.kind == 'f')\n"
        "backend = Wrong(array_api_compat.numpy, None)\n"
    )
    said = run("verify", "net.npz", "--backend", "numpy", "--backend", "wrong:backend", status=1)
    assert "differs: outputs on wrong" in said.splitlines()[1]


@pytest.mark.parametrize("name", ["none.npz", "none.pt", "mnit", "."])
@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_files_that_are_none(run, name, command):
    assert run(command, name, status=2).startswith("portable-nn: ")


def test_warnings_are_one_line(run, tmp_path):
    np.save(tmp_path / "images.npy", np.linspace(0, 1, 784 * 2).reshape(2, 784))
    done = subprocess.run(
        [*MODULE, "predict", "images.npy"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("portable-nn: warning: values from 0 to 1 came, and the network takes 0 to 255")
