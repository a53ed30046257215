"""`portable-nn predict`: labels of a file on stdout or in a file."""

import os
import sys

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.__main__ import main

pytest.importorskip("typer", reason='pip install "portable-nn[cli]"')


@pytest.fixture
def predict(monkeypatch, capsys, tmp_path):
    """Run the command in a folder that holds some images: exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    images, _ = pnn.datasets.mnist("test")
    np.save("images.npy", images[:7])

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["portable-nn", "predict", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return (caught.value.code or 0, *capsys.readouterr())

    return run


def test_a_line_for_each_sample(predict):
    assert predict("images.npy") == (0, "7\n2\n1\n0\n4\n1\n4\n", "")


def test_probabilities_are_those_of_the_network(predict):
    status, out, _ = predict("images.npy", "--probabilities")
    assert predict("images.npy", "--outputs") == (status, out, "")
    found = np.array([line.split() for line in out.splitlines()], dtype=float)
    assert status == 0
    np.testing.assert_allclose(found, pnn.load("mnist")(np.load("images.npy")), atol=1e-7)


def test_a_regression_has_outputs(predict):
    pnn.save(pnn.Network([pnn.Dense(np.full((784, 1), 1 / 784))]), "mean.safetensors")
    status, out, _ = predict("images.npy", "--outputs", "--model", "mean.safetensors")
    assert status == 0
    np.testing.assert_allclose(
        [float(line) for line in out.split()], np.load("images.npy").mean(axis=1), rtol=1e-6
    )
    status, out, error = predict("images.npy", "--model", "mean.safetensors")
    assert (status, out) == (2, "")
    assert "portable-nn predict --outputs gives its values" in error


def test_out_writes_a_file(predict):
    assert predict("images.npy", "--out", "labels.npy") == (0, "7 labels written to labels.npy\n", "")
    np.testing.assert_array_equal(np.load("labels.npy"), [7, 2, 1, 0, 4, 1, 4])


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["", "force"])
@pytest.mark.parametrize("link", [None, os.symlink, os.link], ids=["itself", "symbolic link", "hard link"])
def test_images_are_never_written_over(predict, tmp_path, link, force):
    images = (tmp_path / "images.npy").read_bytes()
    if link:
        link("images.npy", "out.npy")
    status, out, err = predict("images.npy", "--out", "out.npy" if link else "./images.npy", *force)
    assert (status, out) == (2, "")
    assert "is an input, which it would destroy" in err
    assert err.count("\n") == 1
    assert (tmp_path / "images.npy").read_bytes() == images
    assert sorted(os.listdir(tmp_path)) == ["images.npy", "out.npy"][: 2 if link else 1]


def test_images_behind_a_link_are_never_written_over(predict, tmp_path):
    os.symlink("images.npy", "link.npy")
    status, _, err = predict("link.npy", "--out", "images.npy", "--force")
    assert status == 2
    assert "is an input" in err


def test_a_file_that_exists_takes_force(predict, tmp_path):
    (tmp_path / "labels.npy").write_text("precious")
    status, out, err = predict("images.npy", "--out", "labels.npy")
    assert (status, out) == (2, "")
    assert "labels.npy exists" in err
    assert "--force" in err
    assert (tmp_path / "labels.npy").read_text() == "precious"
    assert predict("images.npy", "--out", "labels.npy", "--force")[0] == 0
    np.testing.assert_array_equal(np.load("labels.npy"), [7, 2, 1, 0, 4, 1, 4])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.npy"], "missing.npy cannot be read: No such file or directory"),
        (["images.npy", "--out", "labels.txt"], "let --out end in one, got labels.txt"),
        (["images.npy", "--out", "no/folder.npy"], "there is no folder no"),
        (["images.npy", "--out", "folder.npy", "--force"], "folder.npy is a folder"),
        (["images.npy", "--batch-size", "0"], "--batch-size"),
        (["images.npy", "--backend", "abacus"], "unknown backend 'abacus'"),
        (["wrong.npy"], "the network takes arrays of shape (..., 784), got"),
        (["text.npy"], "text.npy is not a .npy file"),
        ([], "DATA"),
    ],
)
def test_what_goes_wrong_is_one_line(predict, tmp_path, arguments, message):
    np.save(tmp_path / "wrong.npy", np.zeros((3, 700), np.uint8))
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "folder.npy").mkdir()
    status, out, err = predict(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
