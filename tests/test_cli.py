"""The command line: in process where that shows the same, as a process where pipes and signals matter."""

import json
import os
import pickle
import re
import subprocess
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path
from shutil import which

import numpy as np
import pytest
from commands import MODULE, environment, needs_the_books_weights, without_speed

import portable_nn as pnn
from portable_nn.__main__ import main
from portable_nn.backends import Status
from portable_nn.datasets.embedded import embedded

pytest.importorskip("typer", reason='pip install "portable-nn[cli]"')

EVALUATION = """\
model     {model}
backend   {backend}
device    {device}
dtype     float32
speed     N samples/s
correct   9352/10000
accuracy  0.9352
"""


@pytest.fixture
def cli(monkeypatch, capsys):
    """Run a command in this process: exit status, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["portable-nn", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture
def script():
    found = which("portable-nn", path=sysconfig.get_path("scripts"))
    return [found] if found else pytest.skip("the console script is not installed: pip install -e .")


def test_evaluate(cli, backend):
    status, output, errors = cli("evaluate", "--backend", backend)
    device = backend.device_name() or "cpu"
    assert without_speed(output) == EVALUATION.format(model="mnist", backend=backend.name, device=device)
    assert (status, errors) == (0, "")


@needs_the_books_weights
def test_evaluate_the_books_weights(cli):
    status, output, errors = cli("evaluate", "--model", "book")
    assert without_speed(output) == EVALUATION.format(model="book", backend="numpy", device="cpu")
    assert (status, errors) == (0, "")


def test_json(cli):
    status, output, errors = cli("evaluate", "--json", "--batch-size", 999)
    record = json.loads(output)
    seconds, speed = record.pop("seconds"), record.pop("images_per_second")
    assert record == {
        "model": "mnist",
        "accuracy": 0.9352,
        "correct": 9352,
        "total": 10_000,
        "backend": "numpy",
        "device": "cpu",
        "dtype": "float32",
        "batch_size": 999,
    }
    assert speed == pytest.approx(10_000 / seconds)
    assert (status, errors) == (0, "")


def test_per_sample(cli):
    record = json.loads(cli("evaluate", "--json", "--per-sample")[1])
    assert (record["batch_size"], record["accuracy"]) == (0, 0.9352)


@pytest.mark.parametrize("suffix", [".npz", ".pkl", ".safetensors"])
def test_model_files(cli, tmp_path, suffix):
    net, path = pnn.load("mnist"), tmp_path / f"net{suffix}"
    arrays = {
        f"{letter}{i}": array
        for i, layer in enumerate(net.layers[1:], 1)
        for letter, array in zip("Wb", layer.arrays.values(), strict=True)
    }
    match suffix:
        case ".npz":
            np.savez(path, **arrays)
        case ".pkl":
            path.write_bytes(pickle.dumps(arrays))
        case ".safetensors":
            pnn.save(net, path)
    assert cli("evaluate", "--model", path)[1].endswith("accuracy  0.9352\n")


def test_summary(cli):
    status, output, errors = cli("summary")
    assert output.splitlines()[-1].split() == ["total", "(float32)", "45360", "181440"]
    assert (status, errors) == (0, "")


def test_backends(cli):
    table = cli("backends")[1]
    for status, record in zip(pnn.backends.status(), json.loads(cli("backends", "--json")[1]), strict=True):
        assert list(record) == ["name", "state", "version", "devices", "reason"]
        assert (record["name"], record["state"]) == (status.name, status.state)
        assert f"{status.name} " in table
    assert list(pnn.backends.BACKENDS) == [line.split()[0] for line in table.splitlines()[1:]]


def test_the_four_states(cli, monkeypatch):
    states = (
        Status("numpy", "ready", "2.4", ("cpu", "other")),
        Status("torch", "import failed", reason="ImportError: no [/lib/a.so]; " + 50 * "long, "),
        Status("cupy", "no device", "14.0", reason="no driver [red]"),
        Status("jax", "not installed", reason="pip install jax"),
    )
    monkeypatch.setattr(pnn.backends, "status", lambda: states)
    assert [re.split(r"\s{2,}", line.strip()) for line in cli("backends")[1].splitlines()] == [
        ["backend", "state", "version", "devices, or the reason"],
        ["numpy", "ready", "2.4", "cpu, other"],
        ["torch", "import failed", states[1].reason.strip()],
        ["cupy", "no device", "14.0", "no driver [red]"],
        ["jax", "not installed", "pip install jax"],
    ]
    assert [tuple(record.values()) for record in json.loads(cli("backends", "--json")[1])] == [
        ("numpy", "ready", "2.4", ["cpu", "other"], ""),
        ("torch", "import failed", None, [], states[1].reason),
        ("cupy", "no device", "14.0", [], "no driver [red]"),
        ("jax", "not installed", None, [], "pip install jax"),
    ]


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ([], ["--version", "--help", "evaluate", "backends", "summary"]),
        (["evaluate"], ["--model", "--backend", "--batch-size", "--per-sample", "--json"]),
        (["backends"], ["--json"]),
        (["summary"], ["--model"]),
    ],
    ids=["portable-nn", "evaluate", "backends", "summary"],
)
def test_help(cli, monkeypatch, command, options):
    monkeypatch.setenv("COLUMNS", "80")
    status, output, errors = cli(*command, "--help")
    assert output.startswith(" ".join(["Usage: portable-nn", *command]))
    assert all(option in output for option in options)
    assert "..." not in output.removeprefix("Usage: portable-nn [OPTIONS] COMMAND [ARGS]...")
    assert max(map(len, output.splitlines())) <= 80
    assert (status, errors) == (0, "")


def test_no_arguments(cli):
    assert cli() == cli("--help")


def test_version(cli):
    assert cli("--version") == (0, f"portable-nn {pnn.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("frob", "No such command 'frob'; see portable-nn --help"),
        ("evaluate --frob", "No such option: --frob; see portable-nn evaluate --help"),
        ("evaluate more", "more follows no option: give --model more or --data more"),
        ("evaluate --batch-size 0", "'--batch-size'"),
        ("evaluate --batch-size many", "'--batch-size'"),
        ("evaluate --batch-size 10 --per-sample", "leave --batch-size out"),
        ("evaluate --backend frob", "unknown backend 'frob': choose one of numpy, torch, .*array_api_strict"),
        ("evaluate --backend numpy:gpu", "no device 'gpu': devices here: cpu"),
        ("evaluate --model frob", "unknown model 'frob': give 'mnist', 'book', or a path"),
        ("evaluate --model frob.npz", "frob.npz cannot be read: No such file"),
        ("summary --model", "'--model' requires an argument"),
    ],
)
def test_misuse(cli, arguments, message):
    status, output, errors = cli(*arguments.split())
    assert re.fullmatch(f"portable-nn: .*{message}.*\n", errors)
    assert (status, output) == (2, "")


def test_a_device_that_is_missing(cli, array_api_strict):
    status, output, errors = cli("evaluate", "--backend", "array_api_strict:device9")
    assert re.fullmatch("portable-nn: .*no device 'device9': devices here: CPU_DEVICE, device1, .*\n", errors)
    assert (status, output) == (2, "")


class Harmful:
    """Unpickled, it makes a folder named `harm`."""

    def __reduce__(self):
        return os.system, ("mkdir harm",)


def harmful_npz(path):
    np.savez(path, W1=np.array([Harmful()], dtype=object), allow_pickle=True)


BROKEN_FILES = {
    "empty.safetensors": Path.touch,
    "empty.npz": Path.touch,
    "empty.pkl": Path.touch,
    "truncated.safetensors": lambda path: path.write_bytes(embedded("mnist.safetensors").read_bytes()[:-1]),
    "truncated.npz": lambda path: (np.savez(path, W1=np.eye(9)), path.write_bytes(path.read_bytes()[:99])),
    "truncated.pkl": lambda path: path.write_bytes(pickle.dumps({"W1": np.eye(9)})[:-9]),
    "harmful.pkl": lambda path: path.write_bytes(pickle.dumps({"W1": Harmful()})),
    "harmful.npz": harmful_npz,
    "pickle.npz": lambda path: path.write_bytes(pickle.dumps({"W1": Harmful()})),
    "folder.safetensors": Path.mkdir,
    "folder.npz": Path.mkdir,
    "folder.pkl": Path.mkdir,
    "folder": Path.mkdir,
    "net.h5": Path.touch,
    "no suffix": Path.touch,
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_broken_files(cli, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    BROKEN_FILES[name](tmp_path / name)
    status, output, errors = cli("evaluate", "--model", name)
    assert re.fullmatch(f"portable-nn: .*{name}.*\n", errors)
    assert (status, output) == (2, "")
    assert not Path("harm").exists()


@pytest.mark.parametrize("buffering", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", ["summary", "--help"])
class TestOutputThatCannotBeWritten:
    def run(self, command, buffering, stdout):
        done = subprocess.run(
            [*MODULE, command], stdout=stdout, stderr=subprocess.PIPE, text=True,
            env=environment(**buffering), check=False,
        )  # fmt: skip
        return done.returncode, done.stderr

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, which Linux has")
    def test_full_disk(self, command, buffering):
        with open("/dev/full", "w") as full:
            status, errors = self.run(command, buffering, full)
        assert re.fullmatch("portable-nn: .*No space left on device\n", errors)
        assert status == 2

    def test_closed_pipe(self, command, buffering):
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as pipe:
            assert self.run(command, buffering, pipe) == (1, "")


@pytest.mark.skipif(os.name == "nt", reason="closes descriptors by a POSIX shell: run on Linux or macOS")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_place_for_files(tmp_path, mnist_test, closed):
    np.save(tmp_path / "x.npy", mnist_test[0][:20])

    def run(*arguments):
        line = ["sh", "-c", f'exec "$@" {closed}', "sh", *MODULE, *arguments]
        return subprocess.run(line, capture_output=True, env=environment(), check=False).returncode

    assert run("predict", tmp_path / "x.npy", "--out", tmp_path / "y.npy") == 0
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), pnn.load("mnist").predict(mnist_test[0][:20]))
    assert run("predict", tmp_path / "x.npy", "--out", tmp_path / "y.npy") == 2


# SIGINT arrives when the weights are opened; it is heeded, which a shell may have forbidden what it started.
INTERRUPTED = """
import signal, sys

def interrupt(event, arguments):
    if event == "open" and str(arguments[0]).endswith("sample_weight.pkl"):
        signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.addaudithook(interrupt)

from portable_nn.__main__ import command
command()
"""

TWICE = """
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
"""

SWALLOWED = """
        class Closed:
            def __del__(self):
                signal.raise_signal(signal.SIGINT)
        Closed()
"""


@pytest.mark.parametrize("code", ["", TWICE, SWALLOWED], ids=["once", "twice", "where it would be swallowed"])
def test_ctrl_c(tmp_path, code):
    once = "        signal.raise_signal(signal.SIGINT)\n"
    assert once in INTERRUPTED
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.replace(once, code or once), "evaluate", "--model", "book"],
        capture_output=True, text=True, env=environment(PORTABLE_NN_DATA_DIR=str(tmp_path)), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "portable-nn: interrupted\n")


ENDING = """
import atexit, os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)
atexit.register(signal.raise_signal, signal.SIGINT)

from portable_nn.__main__ import command
command()
"""


@pytest.mark.parametrize(("model", "status"), [("mnist", 0), ("no such file", 2)])
def test_a_signal_once_the_work_is_done(model, status):
    done = subprocess.run(
        [sys.executable, "-c", ENDING, "summary", "--model", model],
        capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    assert done.returncode == status
    assert "interrupted" not in done.stderr
    assert "Traceback" not in done.stderr


STOPPED = """
import os, signal, sys

module, number = sys.argv.pop(1), int(sys.argv.pop(1))

def stop(event, arguments):
    if event == "import" and arguments[0] == module:
        os.kill(os.getpid(), number)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.addaudithook(stop)

from portable_nn.__main__ import command
command()
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX has these signals: run on Linux or macOS")
@pytest.mark.parametrize(
    "module", ["numpy", "numpy._core.multiarray", "typer", "rich", "portable_nn.cli.comparing"]
)
@pytest.mark.parametrize(("number", "said"), [(2, (130, "interrupted")), (15, (143, "terminated"))])
def test_a_signal_while_modules_load(module, number, said):
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, module, str(number), "evaluate"],
        capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (said[0], "", f"portable-nn: {said[1]}\n")


# What limits on memory and threads (ulimit) come to: a module, or the first thread, fails in the system's words.
REFUSED = """
import sys, threading

module, *words = sys.argv.pop(1), "libx.so: failed to map segment from shared object"

class Refused:
    def find_spec(name, path=None, target=None):
        if name == module:
            if name.startswith("typer"):
                raise MemoryError
            try:
                raise ImportError(*words)
            except ImportError as error:
                raise ImportError("IMPORTANT: " * 20) from error

def refuse(thread):
    raise RuntimeError("can't start new thread")

sys.meta_path.insert(0, Refused)
if module == "threads":
    threading.Thread.start = refuse

from portable_nn.__main__ import command
command()
"""


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("numpy", "libx.so: failed to map segment from shared object"),
        ("typer.core", "MemoryError"),
        ("threads", "can't start new thread"),
    ],
)
def test_limits_of_memory_and_threads(tmp_path, mnist_test, module, words):
    np.save(tmp_path / "x.npy", np.concatenate([mnist_test[0]] * 3))
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, module, "predict", tmp_path / "x.npy", "--workers", "2"],
        capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == f"portable-nn: {words}: more memory or threads are needed than the system gives (ulimit)\n"
    )


def test_what_is_ignored_stays_ignored():
    """As nohup does, and a shell for what it runs in the background."""
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN);" + STOPPED.replace(
        "signal.signal(signal.SIGINT, signal.default_int_handler)", ""
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "typer", "2", "summary"],
        capture_output=True, text=True, env=environment(), check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name == "nt", reason="needs pseudo-terminals: run on Linux or macOS")
def test_a_progress_bar_on_a_terminal():
    master, terminal = os.openpty()
    command = subprocess.Popen(
        [*MODULE, "evaluate"], stdout=subprocess.PIPE, stderr=terminal, text=True, env=environment(TERM="xterm")
    )
    os.close(terminal)
    drawn = b""
    with suppress(OSError):  # how Linux says that the other side is closed
        while data := os.read(master, 1024):
            drawn += data
    os.close(master)
    output, _ = command.communicate()
    assert b"images" in drawn
    assert b"10000/10000" in drawn
    assert without_speed(output) == EVALUATION.format(model="mnist", backend="numpy", device="cpu")
    assert command.returncode == 0


def test_no_progress_bar_in_a_pipe():
    for forced in ({}, {"FORCE_COLOR": "1"}):
        done = subprocess.run(
            [*MODULE, "evaluate"], capture_output=True, text=True, env=environment(**forced), check=True
        )
        assert done.stderr == ""


def test_the_script_and_the_module_agree(script):
    def run(command, *arguments):
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)

    for arguments in (["summary"], ["--help"], ["evaluate", "--frob"]):
        ours, theirs = run(script, *arguments), run(MODULE, *arguments)
        assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)


HIDING = """
import sys

class Hidden:
    def find_spec(name, path=None, target=None):
        if name == {name!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden)
"""


@pytest.mark.parametrize("name", ["typer", "rich"])
@pytest.mark.parametrize("way", ["module", "script"])
def test_without_the_cli_extra(request, tmp_path, name, way):
    command = MODULE if way == "module" else request.getfixturevalue("script")
    (tmp_path / "sitecustomize.py").write_text(HIDING.format(name=name))
    done = subprocess.run(
        [*command, "evaluate"],
        capture_output=True, text=True, env=environment(PYTHONPATH=str(tmp_path)), check=False,
    )  # fmt: skip
    assert done.stderr == (
        f'portable-nn: the command line needs {name}, which is not installed: pip install "portable-nn[cli]"\n'
    )
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("name", ["matplotlib", "jinja2"])
def test_without_the_plot_extra(tmp_path, name):
    (tmp_path / "sitecustomize.py").write_text(HIDING.format(name=name))
    option = {"matplotlib": "--plot=no/c.png", "jinja2": "--html=no/c.html"}[name]
    done = subprocess.run(
        [*MODULE, "compare", option],
        capture_output=True, text=True, env=environment(PYTHONPATH=str(tmp_path)), check=False,
    )  # fmt: skip
    assert f'this needs {name}, which is not installed: pip install "portable-nn[plot]"' in done.stderr
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
