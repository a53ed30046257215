"""`portable-nn predict`: labels of a file on stdout or in a file."""

import json
import os
import sys

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.__main__ import main

pytest.importorskip("typer", reason='pip install "portable-nn[cli]"')


WEIGHT = np.array([[9.0, 0, 0], [0, 0, 9], [0, 9, 0]])
CLASSES = ["cat", "big\tdog", "eel"]
NAMED = pnn.Network([pnn.Dense(WEIGHT, None, "softmax")], classes=CLASSES, inputs=["a", "b", "c"])
X = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 2]])


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


@pytest.fixture
def models(predict, tmp_path):
    """The command where there are models whose classes have names, and data for them."""
    pnn.save(NAMED, "named.npz")
    pnn.save(NAMED.described(classes=[7, 8, 9]), "numbered.npz")
    pnn.save(pnn.Network([pnn.Dense(WEIGHT, None, "sigmoid")], classes=CLASSES, task="multilabel"), "several.npz")
    pnn.save(pnn.Network([pnn.Dense(-WEIGHT, None, "sigmoid")], task="multilabel"), "nameless.npz")
    pnn.save(pnn.Network([pnn.Dense(WEIGHT, None)], outputs=["u", "v", "w"], task="regression"), "values.npz")
    np.save("x.npy", X)
    (tmp_path / "x.csv").write_text("c,label,a,b\n0,?,1,0\n0,?,0,1\n2,?,0,0\n")
    return predict


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
    assert "call portable-nn predict --outputs, or, if it is a logit, call net.described(task=" in error
    assert error.endswith("; on the command line: --set task=classification\n")


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
        (
            ["images.npy", "--out", "labels.txt"],
            "written as .npy or as .zarr: name labels.npy or labels.zarr, got labels.txt",
        ),
        (["images.npy", "--out", "no/folder.npy"], "there is no folder no"),
        (["images.npy", "--out", "folder.npy", "--force"], "folder.npy is a folder"),
        (["images.npy", "--batch-size", "0"], "--batch-size"),
        (["images.npy", "--backend", "abacus"], "unknown backend 'abacus'"),
        (["wrong.npy"], "the network takes arrays of shape (..., 784), got"),
        (["text.npy"], "text.npy is not a .npy file"),
        (
            ["x.npy", "--array", "x"],
            "x.npy is no .npz, which alone has arrays by name: give one, or",
        ),
        (
            ["two.npz"],
            "two.npz holds one, two: name the samples images or x or X, or say which they are, --array NAME",
        ),
        (["two.npz", "--array", "three"], "two.npz holds one, two, and no 'three'"),
        (["words.npz"], "'x' of "),
        (["none.npz"], "none.npz cannot be read: No such file or directory"),
        (["x.csv"], "the network takes arrays of shape (..., 784), got (3, 3)"),
        (
            ["x.npy", "-m", "values.npz"],
            "does regression, which has no labels: call portable-nn predict --outputs",
        ),
        (["images.npy", "--json", "--out", "labels.npy"], "leave one out"),
        (["images.npy", "--set", "colour=red"], "--set takes NAME=VALUE"),
        (["empty"], "is a folder of neither PNG images nor a zarr array"),
        ([], "DATA"),
    ],
)
def test_what_goes_wrong_is_one_line(models, tmp_path, arguments, message):
    np.save(tmp_path / "wrong.npy", np.zeros((3, 700), np.uint8))
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "empty").mkdir()
    np.savez("two.npz", one=X, two=X)
    np.savez("words.npz", x=np.array(["a"]))
    status, out, err = models(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "lines"),
    [
        ("named.npz", ["cat", "eel", "big dog"]),
        ("numbered.npz", ["7", "9", "8"]),
        ("several.npz", ["cat, big dog, eel"] * 3),
        ("nameless.npz", ["0\t1\t1", "1\t1\t0", "1\t0\t1"]),
    ],
)
def test_lines_are_names_where_classes_have_some(models, model, lines):
    assert models("x.npy", "--model", model) == (0, "\n".join(lines) + "\n", "")


def test_outputs_are_named(models):
    status, out, _ = models("x.npy", "-m", "named.npz", "--probabilities")
    header, *rows = (line.split("\t") for line in out.splitlines())
    assert (status, header) == (0, ["cat", "big dog", "eel"])
    np.testing.assert_allclose(np.array(rows, dtype=float), NAMED(X), rtol=1e-12)
    assert models("x.npy", "-m", "values.npz", "--probabilities")[1].startswith("u\tv\tw\n9.0\t0.0\t0.0\n")


def test_columns_of_a_table_go_by_the_names_of_inputs(models):
    assert models("x.csv", "-m", "named.npz")[1].splitlines() == ["cat", "eel", "big dog"]
    assert models("x.csv", "-m", "named.npz", "--out", "labels.npy")[0] == 0
    np.testing.assert_array_equal(np.load("labels.npy"), [0, 2, 1])


@pytest.mark.parametrize(
    ("arrays", "options"),
    [
        ({"anything": X}, []),
        ({"x": X, "other": -X}, []),
        ({"anything": X, "labels": np.arange(3)}, []),
        ({"X": X, "y": np.arange(3)}, []),
        ({"images": X, "labels": np.array(["cat", "eel", "eel"])}, []),
        ({"x": -X, "other": X}, ["--array", "other"]),
    ],
)
def test_archives(models, arrays, options):
    np.savez("data.npz", **arrays)
    assert models("data.npz", "-m", "named.npz", *options)[1].splitlines() == ["cat", "eel", "big dog"]


def test_folders_of_images(predict, tmp_path):
    image = pytest.importorskip("PIL.Image", reason='pip install "portable-nn[cli]"')
    (tmp_path / "digits").mkdir()
    for i, pixels in enumerate(np.load("images.npy")):
        image.fromarray(pixels.reshape(28, 28)).convert("RGB").save(f"digits/{7 - i}.png")
    lines = "1.png\t4\n2.png\t1\n3.png\t4\n4.png\t0\n5.png\t1\n6.png\t2\n7.png\t7\n"
    assert predict("digits") == (0, lines, "")
    assert predict("digits", "--out", "labels.npy")[0] == 0
    np.testing.assert_array_equal(np.load("labels.npy"), [4, 1, 4, 0, 1, 2, 7])
    assert json.loads(predict("digits", "--json")[1])["files"] == [f"{i}.png" for i in range(1, 8)]
    image.new("L", (27, 28)).save("digits/7.png")
    assert "7.png is 27 x 28 pixels, 1.png is 28 x 28" in predict("digits")[2]
    for i in range(1, 8):
        image.new("L", (27, 28)).save(f"digits/{i}.png")
    assert "the network takes arrays of shape (..., 784), got (7, 28, 27)" in predict("digits")[2]


def test_json_has_all_keys_always(models):
    nothing = {
        "files": None,
        "classes": None,
        "labels": None,
        "names": None,
        "output_names": None,
        "outputs": None,
    }
    same = nothing | {"data": "x.npy", "samples": 3}

    def document(model, *options):
        status, out, err = models("x.npy", "-m", model, "--json", *options)
        assert (status, err) == (0, "")
        return json.loads(out)

    names, labels = ["cat", "eel", "big\tdog"], [0, 2, 1]
    assert document("named.npz") == same | {
        "model": "named.npz", "classes": CLASSES, "labels": labels, "names": names
    }  # fmt: skip
    assert document("named.npz", "--probabilities")["outputs"] == NAMED(X).tolist()
    assert document("numbered.npz") == same | {"model": "numbered.npz", "classes": [7, 8, 9], "labels": [7, 9, 8]}
    assert document("several.npz")["names"] == [CLASSES] * 3
    assert document("several.npz")["labels"] == [[1, 1, 1]] * 3
    found = document("values.npz")
    assert found == same | {
        "model": "values.npz",
        "output_names": ["u", "v", "w"],
        "outputs": (X @ WEIGHT).tolist(),
    }


def test_json_of_what_is_not_finite(models):
    np.save("x.npy", np.array([[np.nan, 0, 0], [1, 0, 0]]))
    assert json.loads(models("x.npy", "-m", "values.npz", "--json")[1])["outputs"] == [[None] * 3, [9, 0, 0]]


def test_a_model_that_does_not_say_all(models):
    np.savez("bare.npz", W1=WEIGHT, b1=np.zeros(3))
    assert "not its activations" in models("x.npy", "-m", "bare.npz")[2]
    assert (
        models("x.npy", "-m", "bare.npz", "--set", "activation=relu", "--set", "last=softmax")[1] == "0\n2\n1\n"
    )
