"""Each measurement has a process of its own: what it finds, what it starts, and what ends with it."""

import os
import signal
import sys

import faulty
import numpy as np
import pytest
from comparing import QUICK

import portable_nn as pnn


def test_a_backend_that_hangs_is_killed(mnist):
    (row,) = pnn.compare(*mnist, backends=["faulty:HANGING"], time_limit=4, **QUICK).rows
    assert row.state == "failed"
    assert row.symptom.startswith("no result within 4 s: it hung while")


def test_an_object_travels_by_its_name(mnist):
    found = pnn.compare(*mnist, backends=[faulty.HEALTHY], **QUICK)
    assert [row.backend for row in found.rows] == ["faulty:HEALTHY"]
    assert found.holds


def test_an_object_without_a_name_is_refused(mnist):
    nameless = faulty.Healthy(np, None)
    with pytest.raises(pnn.BackendError, match=r"assign it at the top of faulty, or .* in_process=True"):
        pnn.compare(*mnist, backends=[nameless], **QUICK)


SHADOW = """
from pathlib import Path
Path(__file__).with_suffix(".executed").touch()
raise ImportError("the wrong one")
"""


OWN = """
import array_api_compat.numpy
from faulty import Healthy

MINE = Healthy(array_api_compat.numpy, None)
"""


@pytest.mark.parametrize("entry", ["", "absolute"])
def test_files_in_the_current_folder_shadow_nothing(mnist, tmp_path, monkeypatch, entry):
    for name in ("numpy", "json", "safetensors", "cupy", "torch", "portable_nn", "faulty"):
        (tmp_path / f"{name}.py").write_text(SHADOW)
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path) if entry else "", *sys.path])
    found = pnn.compare(*mnist, backends=["numpy", "mine:MINE"], **QUICK)
    assert [(row.state, row.symptom) for row in found.rows] == [("agrees", "")] * 2
    assert list(tmp_path.glob("*.executed")) == []


@pytest.fixture
def forked(tmp_path, monkeypatch):
    """What a process that a backend forks says: its id; and whether it was let live, once it has ended."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here: run on Linux or macOS")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    monkeypatch.setenv("FAULTY_PIPE", str(pipe))
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(reading, "rb") as file:
        yield file


def test_what_a_measured_process_forks_ends_with_it(mnist, forked):
    (row,) = pnn.compare(*mnist, backends=["faulty:FORKING"], **QUICK).rows
    assert (row.state, row.symptom) == ("agrees", "")
    os.set_blocking(forked.fileno(), True)
    assert forked.read().split(b" ", 1)[1] == b""


def test_a_fork_that_makes_itself_independent_holds_nothing_up(mnist, forked):
    (row,) = pnn.compare(*mnist, backends=["faulty:FORKING_AND_HANGING"], time_limit=4, **QUICK).rows
    assert row.symptom.startswith("no result within 4 s: it hung while")
    pid = int(os.read(forked.fileno(), 100))
    os.kill(pid, signal.SIGKILL)
    os.set_blocking(forked.fileno(), True)
    assert forked.read() == b""
