"""Whatever a command is to write to, nothing that is there is lost: one line says why, before there is work."""

import os
import stat
import sys

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.__main__ import main

pytest.importorskip("matplotlib", reason='pip install "portable-nn[plot]"')
pytest.importorskip("typer", reason='pip install "portable-nn[cli]"')
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such files: run on Linux or macOS")

COMMANDS = {
    ".npy": "predict x.npy --model m.safetensors --out {}",
    ".zarr": "predict x.npy --model m.safetensors --out {}",
    ".safetensors": "convert m.safetensors {}",
    ".json": "compare --backend numpy --model m.safetensors --data d.npz --json {}",
    ".html": "compare --backend numpy --model m.safetensors --data d.npz --html {}",
    ".png": "plot confusion --model m.safetensors --data d.npz --out {}",
}


@pytest.fixture
def folder(monkeypatch, tmp_path, mnist_test):
    """Files to read, and of each suffix what is no place for a file."""
    monkeypatch.chdir(tmp_path)
    images, labels = (array[:20] for array in mnist_test)
    np.save("x.npy", images)
    np.savez("d.npz", images=images, labels=labels)
    pnn.save(pnn.load("mnist"), "m.safetensors")
    (tmp_path / "file").touch()
    for suffix in COMMANDS:
        os.mkfifo(f"pipe{suffix}")
        os.mkdir(f"folder{suffix}")
        os.symlink(f"loop{suffix}", f"loop{suffix}")
        os.symlink("/dev/full", f"full{suffix}")
        os.symlink("x.npy" if suffix in (".npy", ".zarr") else "d.npz", f"input{suffix}")
    os.remove("input.safetensors")
    os.symlink("m.safetensors", "input.safetensors")
    return tmp_path


@pytest.fixture
def cli(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["portable-nn", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, capsys.readouterr()

    return run


def found(folder):
    """All that lies there, and what files hold."""
    return {
        path.name: path.read_bytes() if stat.S_ISREG(path.lstat().st_mode) else path.lstat().st_ino
        for path in folder.iterdir()
    }


@pytest.mark.parametrize("suffix", COMMANDS)
@pytest.mark.parametrize(
    ("name", "message", "force"),
    [
        ("pipe", "is no regular file", True),
        ("full", "is no regular file", True),
        ("folder", "is a folder", True),
        ("input", "is an input", True),
        ("loop", "exists", False),
        ("missing/y", "there is no folder missing", True),
        ("file/y", "there is no folder file", True),
    ],
)
def test_nothing_is_lost(folder, cli, suffix, name, message, force):
    before = found(folder)
    status, (output, errors) = cli(
        *COMMANDS[suffix].format(name + suffix).split(), *(["--force"] if force else [])
    )
    assert (status, output) == (2, "")
    assert message in errors
    assert errors.count("\n") == 1
    assert found(folder) == before


def test_what_only_flows_is_no_data(folder, cli):
    status, (output, errors) = cli("predict", "pipe.npy", "--out", "y.npy")
    assert (status, output) == (2, "")
    assert "pipe.npy is no regular file" in errors
