"""Whatever a command is to write to, nothing that is there is lost: one line says why, before there is work."""

import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from commands import MODULE, environment

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


FLOWING = {
    "data": "predict pipe.npy --out y.npy",
    "data from a pipe": "evaluate --data /dev/stdin",
    "labels": "evaluate --data x.npy --labels pipe.npy",
    "model": "summary --model pipe.safetensors",
    "weights": "inspect pipe.safetensors",
}


@pytest.mark.parametrize("command", FLOWING.values(), ids=FLOWING)
def test_what_only_flows_is_not_waited_for(folder, command):
    done = subprocess.run(
        [*MODULE, *command.split()], input="1,2\n", capture_output=True, text=True, check=False, timeout=60,
        env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no regular file" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_on_standard_input_is_one(folder):
    with open("x.npy", "rb") as file:
        command = [*MODULE, "predict", "/dev/stdin"]
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, check=False, env=environment())
    assert (done.stdout.count("\n"), done.stderr) == (20, "")


def test_results_may_lie_beside_the_images(folder, cli, mnist_test):
    image = pytest.importorskip("PIL.Image", reason="pip install pillow")
    os.mkdir("digits")
    for i, pixels in enumerate(mnist_test[0][:3].reshape(-1, 28, 28)):
        image.fromarray(pixels).save(f"digits/{i}.png")
    assert not cli("predict", "digits", "--out", "digits/y.npy")[0]
    assert np.load("digits/y.npy").tolist() == mnist_test[1][:3].tolist()


@pytest.mark.parametrize("suffix", [".npy", ".zarr"])
def test_results_take_the_place_of_a_link(folder, cli, suffix):
    pytest.importorskip("zarr", reason="pip install zarr")
    assert not cli("predict", "x.npy", "--out", f"old{suffix}")[0]
    os.symlink(f"old{suffix}", f"link{suffix}")
    before = {*os.listdir()}
    assert cli("predict", "x.npy", "--out", f"link{suffix}")[0] == 2
    assert not cli("predict", "x.npy", "--out", f"link{suffix}", "--probabilities", "--force")[0]
    assert {*os.listdir()} == before
    assert os.path.exists(f"old{suffix}")
    assert not os.path.islink(f"link{suffix}")
