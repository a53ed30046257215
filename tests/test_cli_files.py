"""`portable-nn convert`, `inspect` and `verify`."""

import json
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from commands import MODULE, environment

import portable_nn as pnn
from portable_nn.__main__ import main

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
def run(monkeypatch, capsys, tmp_path):
    """Run a command in a folder: what it says on stdout, or on stderr where it fails."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def run(*arguments, status=0):
        monkeypatch.setattr(sys, "argv", ["portable-nn", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, errors = capsys.readouterr()
        assert (caught.value.code or 0) == status, errors + out
        return out if status in (0, 1) else errors

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
    assert [*map(repr, net)] == ["Rescaling(0.5, 0)", "Dense(4, 5, 'relu')", "Dense(5, 3, 'identity')"]
    assert net.task == "regression"


@pytest.fixture
def weights(tmp_path):
    """Files that lack activations: of Linear alone, and with a BatchNorm; Linear and Flatten."""
    torch = pytest.importorskip("torch", reason="it writes the files: pip install torch")
    linear = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    normed = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))
    torch.save(linear.state_dict(), tmp_path / "linear.pt")
    torch.save(normed.state_dict(), tmp_path / "normed.pt")
    torch.save(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)), tmp_path / "image.pt")


def test_what_a_message_asks_for_can_be_given(run, weights):
    """As it is printed, and plainly."""
    asked = run("inspect", "linear.pt", status=2)
    assert "--set activation=relu, --set last=softmax, --set layers=…\n" in asked
    wanted = str(
        pnn.Network(
            [pnn.Dense(np.ones((4, 3), "f4"), None, "relu"), pnn.Dense(np.ones((3, 2), "f4"), None, "softmax")]
        )
    )
    (layers,) = re.findall(r"or (layers=\[.*?\])", asked)
    for given in (["activation='relu'", "last='softmax'"], [layers], ["layers=0,relu,2,softmax"]):
        options = [word for one in given for word in ("--set", one)]
        assert wanted in run("convert", "linear.pt", "net.npz", "--force", *options)
    asked = run("inspect", "normed.pt", status=2)
    assert "activation=" not in asked
    (layers,) = re.findall(r"give (layers=\[.*?\])", asked)
    assert "BatchNorm" in asked
    assert "Rescaling" in run("inspect", "normed.pt", "--set", layers)


@pytest.mark.parametrize("given", ["sample_shape=(1, 2, 2)", "sample_shape=1,2,2"])
def test_shapes_are_given_as_python_writes_them(run, weights, given):
    assert json.loads(run("inspect", "image.pt", "--json", "--set", given))["input_shape"] == [1, 2, 2]


def test_what_a_file_says_itself_is_asked_for_nowhere(run, tmp_path):
    pnn.save(NET, tmp_path / "net.npz")
    said = run("inspect", "net.npz", "--set", "last=softmax", status=2)
    assert said.endswith("which says all itself: leave last= out\n")


def test_a_fraction_is_a_number(run, tmp_path):
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps(ARRAYS))
    options = ["--set", "activation=relu", "--set", "last=identity", "--set", "rescale=1/255"]
    assert "Rescaling(0.00392157, 0)" in run("inspect", "weights.pkl", *options)
    assert "task      not said, and the last layer does not tell" in run("inspect", "weights.pkl", *options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--set", "rescale=1/0"], "--set rescale takes a number, such as 1/255, got '1/0'"),
        (["--set", "sample_shape=big"], "--set sample_shape takes integers, such as 1,28,28, got 'big'"),
        (["--set", "activation"], "--set takes NAME=VALUE with NAME one of activation, last"),
        (["--set", "colour=red"], "--set takes NAME=VALUE"),
        (["--set", "rescale=much"], "--set rescale takes a number, such as 1/255, got 'much'"),
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


def test_warnings_are_one_line(tmp_path):
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
