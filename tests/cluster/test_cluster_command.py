"""The command line on a Dask cluster: stopped, with workers of its own, misused."""

import logging
import os
import re
import signal
import subprocess
import sys
import warnings
from random import Random

import pytest
from clusters import COUNT, KILLS, after, command, contents
from commands import MODULE, environment

import portable_nn as pnn
from portable_nn.clients import connected

pytest.importorskip("distributed", reason="pip install 'dask[array,distributed]'")
pytest.importorskip("zarr", reason="pip install zarr")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills are POSIX signals: run on Linux or macOS")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_stopped_says_that_it_can_go_on(folder, client, tmp_path, wanted, number, status):
    running = command(folder, tmp_path / "y.zarr", client.scheduler.address)
    after(running, tmp_path, 20)
    running.send_signal(number)
    out, err = running.communicate()
    assert (running.returncode, out) == (status, "")
    assert re.fullmatch("portable-nn: (interrupted|terminated); the same command goes on.*\n", err)
    assert command(folder, tmp_path / "y.zarr", client.scheduler.address).communicate()[1] == ""
    assert contents(tmp_path / "y.zarr") == wanted


def test_workers_of_the_command_itself(folder, tmp_path, wanted):
    running = command(folder, tmp_path / "y.zarr", "local:1", start_new_session=True)
    after(running, tmp_path, 20)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    out, err = running.communicate()
    assert (running.returncode, out) == (130, "")
    assert re.fullmatch("portable-nn: interrupted; the same command goes on.*\n", err)
    done = command(folder, tmp_path / "y.zarr", "local:1")
    assert done.communicate() == (f"{COUNT} rows of outputs written to {tmp_path / 'y.zarr'}\n", "")
    assert contents(tmp_path / "y.zarr") == wanted


def test_workers_of_the_command_itself_leave_nothing_behind():
    before = dict(os.environ)
    with connected("local:1"):
        pass
    assert dict(os.environ) == before


def test_workers_of_the_command_itself_are_silent(capfd):
    with connected("local:1") as client:
        client.run(lambda: logging.getLogger("distributed.worker.state_machine").warning("cancelled"))
        client.run(warnings.warn, "which the client says as well", pnn.InputWarning)
    assert capfd.readouterr() == ("", "")


def test_workers_that_cannot_be_started(monkeypatch):
    import distributed

    def refused(**options):
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr(distributed, "LocalCluster", refused)
    with (
        pytest.raises(pnn.ClusterError, match=r"no workers can be started on this machine: Nanny failed"),
        connected("local:1"),
    ):
        pass


# Stops a command and its workers at one of the moments after a module loads that an audit hook is told of: files,
# modules, sockets, locks.
STOPPED = """
import os, signal, sys

module, at, number, first = sys.argv.pop(1), int(sys.argv.pop(1)), int(sys.argv.pop(1)), os.getpid()

def count(event, arguments):
    global module, at
    if event == "import" and arguments[0] == module:
        module = None
    if module is None and os.getpid() == first and event != "object.__getattr__":
        at -= 1
        if at == 0:
            os.killpg(0, number)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.addaudithook(count)

from portable_nn.__main__ import command
command()
"""


@pytest.mark.parametrize("stops", KILLS)
def test_a_command_that_is_stopped_anywhere_with_its_workers(folder, tmp_path, wanted, stops):
    random, out = Random(5), tmp_path / "y.zarr"
    command = ["predict", folder / "x.npy", "--out", out, "--force", "--probabilities", "--block-size", "50"]
    for _ in range(stops):
        module, last = random.choice([("typer", 8000), ("distributed", 6000), ("distributed.deploy", 1000)])
        number = random.choice([signal.SIGINT, signal.SIGTERM])
        done = subprocess.run(
            [sys.executable, "-c", STOPPED, module, str(random.randrange(1, last)), str(int(number)),
             *command, "--scheduler", "local:1"],
            capture_output=True, text=True, check=False, env=environment(), start_new_session=True,
        )  # fmt: skip
        if done.returncode == 0:  # it has ended before
            assert (done.stdout, done.stderr) == (f"{COUNT} rows of outputs written to {out}\n", "")
        else:
            assert done.returncode == 128 + number
            assert re.fullmatch("portable-nn: (interrupted|terminated)(; the same command .*)?\n", done.stderr)
    assert subprocess.run([*MODULE, *command, "--scheduler", "local:1"], env=environment(), check=True)
    assert contents(out) == wanted
    assert os.listdir(tmp_path) == ["y.zarr"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scheduler", "local:two", "--out", "y.zarr"], "local workers are counted, local:4 for instance"),
        (["--scheduler", "tcp://127.0.0.1:9", "--out", "y.zarr"], "there is no scheduler at tcp://127.0.0.1:9"),
        (["--scheduler", "nonsense", "--out", "y.zarr"], "there is no scheduler at nonsense"),
        (["--scheduler", "local", "--out", "y.npy"], "a cluster writes to a zarr array: give --out labels.zarr"),
        (["--scheduler", "local", "--out", "y.zarr", "--workers", "2"], "give --block-size alone"),
    ],
)
def test_what_goes_wrong_is_one_line(folder, tmp_path, arguments, message):
    done = subprocess.run(
        [*MODULE, "predict", folder / "x.npy", *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=environment(DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT="1s"),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []
