"""What comes amid the work of a command: a signal, or what a backend of one's own raises."""

import subprocess

import numpy as np
import pytest
from commands import MODULE, environment

import portable_nn as pnn

pytest.importorskip("typer", reason='pip install "portable-nn[cli]"')

MINE = """
import array_api_compat.numpy
import signal

from portable_nn.backends import Backend

class Mine(Backend):
    name = "mine"

    def device_name(self):
        return ""

    def place(self, array, *, share=False):
        {code}
        return array

class Closed:
    def __init__(self, closing):
        self.closing = closing

    def __del__(self):
        self.closing()

MINE = Mine(array_api_compat.numpy, None)
"""

LOADING = """
import signal

try:
    signal.raise_signal(signal.SIGINT)
except BaseException:
    pass  # as modules do that make the best of what is not there
"""

SIGINT, SIGTERM = (f"signal.raise_signal(signal.{name})" for name in ("SIGINT", "SIGTERM"))
GOES_ON = "; the same command goes on with what is done"


@pytest.fixture
def predict(tmp_path):
    """Run `portable-nn predict` on a backend that does something: exit status, stdout and stderr."""
    np.save(tmp_path / "x.npy", np.eye(3))
    pnn.save(pnn.Network([pnn.Dense(np.eye(3), None, "softmax")]), tmp_path / "net.npz")
    (tmp_path / "loading.py").write_text(LOADING)

    def run(code, *arguments):
        (tmp_path / "mine.py").write_text(MINE.format(code=code))
        done = subprocess.run(
            [*MODULE, "predict", "x.npy", "--model", "net.npz", "--backend", "mine:MINE", *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=False, env=environment(),
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize(
    ("code", "arguments", "status", "said"),
    [
        (SIGINT, [], 130, "interrupted"),
        (SIGTERM, [], 143, "terminated"),
        (SIGINT, ["--out", "y.npy"], 130, f"interrupted{GOES_ON}"),
        (f"Closed(lambda: {SIGINT})", ["--out", "y.npy"], 130, "interrupted"),
        ("import loading", ["--out", "y.npy"], 130, "interrupted"),
    ],
    ids=["interrupted", "terminated", "with a file to go on with", "in a finaliser", "while a module loads"],
)
def test_a_signal(predict, code, arguments, status, said):
    assert predict(code, *arguments) == (status, "", f"portable-nn: {said}\n")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("raise RuntimeError('beads are lost')", "RuntimeError: beads are lost"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_what_it_raises_is_shown_whole(predict, code, error):
    """It is the caller's own to mend: neither this package's extras nor the system's limits are to blame."""
    status, out, err = predict(code)
    assert (status, out) == (1, "")
    assert 'mine.py", line ' in err
    assert err.splitlines()[-1] == error


def test_what_a_finaliser_raises_is_told_as_python_does(predict):
    status, out, err = predict("Closed(lambda: 1 / 0)")
    assert (status, out) == (0, "0\n1\n2\n")
    assert "Exception ignored" in err
    assert "ZeroDivisionError" in err
