"""Dask schedulers and workers as processes of their own on 127.0.0.1, and what is asked of them."""

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from commands import MODULE, environment

import portable_nn as pnn

PATIENCE = 60  # seconds until something that should come is taken to be missing
COUNT, BLOCK = 5000, 50
KILLS = [pytest.param(1, id="1"), pytest.param(20, id="20", marks=pytest.mark.slow)]


def until(condition, process=None):
    """Wait for what a condition waits for, and give it; an error where that can come no more."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        if process is not None and process.poll() is not None:
            return condition()
        time.sleep(0.002)
    raise TimeoutError(f"nothing came within {PATIENCE} s")


class Cluster:
    """A scheduler, and as many workers as are started; all are killed at the end."""

    def __init__(self, folder, workers=1, options=(), **scheduler_environment):
        self.folder, self.processes = folder, []
        self.file = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--port", "0", *options, **scheduler_environment)
        self.workers = [self.add_worker() for _ in range(workers)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()
        with suppress(FileNotFoundError):
            self.file.unlink()

    @property
    def address(self):
        import json

        def read():
            with suppress(FileNotFoundError, ValueError):
                return json.loads(self.file.read_text())["address"]

        return until(read, self.scheduler)

    def client(self):
        from distributed import Client

        return Client(self.address, set_as_default=False)

    def add_worker(self, limit=None, **changes):
        if limit is not None:
            changes["PYTHONDONTWRITEBYTECODE"] = "1"  # of modules that would be cut, for everyone
        return self._start("worker", "--nthreads", "1", "--no-nanny", limit=limit, **changes)

    def _start(self, what, *options, limit=None, **changes):
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", what, *options, "--scheduler-file", self.file, "--host", "127.0.0.1",
             "--no-dashboard"],
            env=environment(**changes), cwd=self.folder,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.processes.append(process)
        if limit is not None:  # not between fork and exec, where JAX warns
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        return process


def kill(process):
    """SIGKILL, and wait until it is gone."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    process.wait()


def blocks(folder):
    """The blocks that are there, of all runs that have not ended."""
    return [path for partial in Path(folder).glob("*.partial") for path in partial.glob("c.*")]


def contents(folder):
    """The files of a folder, hidden ones as well."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def label(net, source, client, out, **options):
    """What a cluster writes, by small blocks."""
    return pnn.infer(net, source, client=client, out=out, **{"block": BLOCK} | options)


def command(folder, out, address, **options):
    """The command that computes what is wanted."""
    return subprocess.Popen(
        [*MODULE, "predict", folder / "x.npy", "--out", out, "--probabilities", "--block-size", str(BLOCK),
         "--scheduler", address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), **options,
    )  # fmt: skip


def after(process, folder, n):
    """Wait until so many blocks are there, or the process has ended."""
    until(lambda: len(blocks(folder)) >= n, process)
