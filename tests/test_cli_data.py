"""`evaluate`, `compare`, `plot` and `summary` on data and models of one's own."""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.__main__ import main

pytest.importorskip("typer", reason='pip install "portable-nn[cli]"')

RNG = np.random.default_rng(0)
WEIGHT, X = RNG.normal(size=(3, 3)), RNG.normal(size=(40, 3))
INDICES = (X @ WEIGHT).argmax(axis=1)
TRUTH = np.where(np.arange(40) < 30, INDICES, (INDICES + 1) % 3)  # 30 of 40 are right
NAMES = np.array(["cat", "dog", "eel"])
NAMED = pnn.Network([pnn.Dense(WEIGHT, None, "softmax")], classes=NAMES.tolist(), inputs=["a", "b", "c"])
NUMBERED = NAMED.described(classes=[3, 1, 70_000])


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    """Run a command in a folder that holds models and data: exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    pnn.save(NAMED, "named.npz")
    pnn.save(NUMBERED, "numbered.npz")
    np.save("x.npy", X)
    np.save("y.npy", TRUTH)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["portable-nn", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return (caught.value.code or 0, *capsys.readouterr())

    return run


def write_table(labels, header="label,c,a,b"):
    rows = [f"{label},{c!r},{a!r},{b!r}" for label, (a, b, c) in zip(labels, X.tolist(), strict=True)]
    with open("data.csv", "w") as file:
        file.write("\n".join([header, *rows]))


CLASSES = np.array(NUMBERED.classes)

DATA = {
    "indices": ("named", lambda: np.savez("data.npz", images=X, labels=TRUTH)),
    "names": ("named", lambda: np.savez("data.npz", X=X, y=NAMES[TRUTH])),
    "integers": ("numbered", lambda: np.savez("data.npz", x=X, labels=CLASSES[TRUTH])),
    "table of names": ("named", lambda: write_table(NAMES[TRUTH])),
    "table of indices": ("named", lambda: write_table(TRUTH)),
    "table of integers": ("numbered", lambda: write_table(CLASSES[TRUTH])),
    "table of integers as floats": ("numbered", lambda: write_table(map("{:.18e}".format, CLASSES[TRUTH]))),
}


@pytest.mark.parametrize("data", DATA)
def test_accuracy_of_labels_in_any_words(cli, tmp_path, data):
    model, make = DATA[data]
    make()
    path = next(path.name for path in tmp_path.glob("data.*"))
    status, out, err = cli("evaluate", "--model", f"{model}.npz", "--data", path)
    assert (status, err) == (0, "")
    assert "correct   30/40\n" in out
    assert out.count(" samples/s\n") == 1
    assert "images" not in out


@pytest.mark.parametrize("label", ["0.5", "nan", "inf", "1e300"])
def test_labels_that_are_no_integers_stay_as_they_are_written(cli, label):
    write_table([label] * len(TRUTH))
    assert (
        f"labels {label!r} are none of the network's classes"
        in cli("evaluate", "-m", "named.npz", "--data", "data.csv")[2]
    )


def test_labels_in_a_file_of_their_own(cli):
    out = cli("evaluate", "-m", "named.npz", "--data", "x.npy", "--labels", "y.npy", "--json")[1]
    assert json.loads(out)["accuracy"] == 0.75
    assert "correct   30/40\n" in cli("evaluate", "-m", "named.npz", "--data", "x.npy", "--labels", "y.npy")[1]


@pytest.mark.parametrize(("name", "packed"), [("y-idx1-ubyte", bytes), ("y-idx1-ubyte.gz", gzip.compress)])
def test_labels_in_an_idx_file(cli, name, packed):
    Path(name).write_bytes(packed(bytes([0, 0, 8, 1, 0, 0, 0, 40, *TRUTH])))
    assert "correct   30/40\n" in cli("evaluate", "-m", "named.npz", "--data", "x.npy", "--labels", name)[1]


def test_labels_in_a_file_of_their_own_may_be_names(cli):
    np.save("names.npy", NAMES[TRUTH])
    assert (
        "correct   30/40\n" in cli("evaluate", "-m", "named.npz", "--data", "x.npy", "--labels", "names.npy")[1]
    )
    np.save("objects.npy", NAMES[TRUTH].astype(object), allow_pickle=True)
    status, _, err = cli("evaluate", "-m", "named.npz", "--data", "x.npy", "--labels", "objects.npy")
    assert (status, err.count("\n")) == (2, 1)
    assert "objects.npy is not a .npy file of numbers or strings" in err


def test_strings_of_digits_are_names(cli):
    """As scikit-learn gives those of fetch_openml: "1" is the first class, not the index 1."""
    pnn.save(NAMED.described(classes=["1", "2", "3"]), "digits.npz")
    write_table(TRUTH + 1)
    assert "correct   30/40\n" in cli("evaluate", "-m", "digits.npz", "--data", "data.csv")[1]


def several():
    pnn.save(pnn.Network([pnn.Dense(WEIGHT, None, "sigmoid")], task="multilabel"), "net.npz")
    np.savez("data.npz", x=X, y=TRUTH)


def values():
    pnn.save(pnn.Network([pnn.Dense(WEIGHT, None)], task="regression"), "net.npz")
    np.savez("data.npz", x=X, y=X)


TABLE = "-m named.npz --data data.csv"
NUMBERS = "-m numbered.npz --data data.csv"


@pytest.mark.parametrize("command", ["evaluate", "compare -b numpy", "plot confusion -o c.png"])
@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (values, "-m net.npz --data data.npz", "the network does regression, "),
        (lambda: write_table(["cat"] * 39 + ["cow"]), TABLE, "labels 'cow' are none of the network's classes"),
        (lambda: write_table(["cat"] * 40), NUMBERS, "strings such as 'cat', the network's classes are 3"),
        (lambda: write_table(TRUTH), NUMBERS, "labels 0, 2 are none of the network's classes 3, 1, 70000"),
        (lambda: write_table(TRUTH + 1), TABLE, "labels run from 1 to 3, the network gives 0 to 2"),
        (lambda: write_table(TRUTH, "kind,c,a,b"), TABLE, "has kind besides, where labels would be named label"),
        (lambda: write_table(TRUTH), TABLE + " --labels y.npy", "data.csv has labels: leave --labels out"),
        (lambda: None, "-m named.npz", "takes samples of shape (3,), and no MNIST images: give --data"),
        (lambda: None, "--labels y.npy", "--labels is for --data"),
        (lambda: None, "-m named.npz --data x.npy --labels none.npy", "none.npy cannot be read"),
        (lambda: None, "-m named.npz --data x.npy --labels y.csv", "--labels takes a .npy or IDX file, got"),
        (lambda: None, "-m named.npz --data none.csv", "none.csv cannot be read"),
        (lambda: np.save("y.npy", TRUTH[1:]), "-m named.npz --data x.npy --labels y.npy", "one"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(cli, command, make, options, message):
    if command.startswith("plot"):
        pytest.importorskip("matplotlib", reason='pip install "portable-nn[plot]"')
    make()
    status, out, err = cli(*command.split(), *options.split())
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        ("evaluate", "predict --outputs"),
        ("compare -b numpy", "compare with --data of samples alone"),
        ("plot confusion -o c.png", "predict --outputs"),
        ("plot errors -b numpy -o c.png", "compare with --data of samples alone"),
    ],
)
@pytest.mark.parametrize("task", ["regression", None])
def test_labels_beside_values_are_told_what_goes_without(cli, command, instead, task):
    if command.startswith("plot"):
        pytest.importorskip("matplotlib", reason='pip install "portable-nn[plot]"')
    pnn.save(pnn.Network([pnn.Dense(WEIGHT[:, :1], None)], task=task), "net.npz")
    np.savez("data.npz", x=X, y=X[:, :1])
    status, out, err = cli(*command.split(), "-m", "net.npz", "--data", "data.npz")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"call portable-nn {instead}" in err
    assert ("--set task=classification" in err) is (task is None)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("evaluate", "several labels of each sample have no one accuracy"),
        ("compare -b numpy", "40 x 3 samples, labels of shape (40,)"),
        ("plot confusion -o c.png", "confusion is of one label of each sample, the network gives several"),
    ],
)
def test_one_label_where_the_network_gives_several(cli, command, message):
    if command.startswith("plot"):
        pytest.importorskip("matplotlib", reason='pip install "portable-nn[plot]"')
    several()
    status, out, err = cli(*command.split(), "-m", "net.npz", "--data", "data.npz")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


@pytest.mark.parametrize("command", ["evaluate", "plot confusion -o c.png", "plot mistakes -o c.png"])
def test_labels_are_needed(cli, command):
    pytest.importorskip("matplotlib", reason='pip install "portable-nn[plot]"')
    assert "this needs true labels: give a .npz" in cli(*command.split(), "-m", "named.npz", "--data", "x.npy")[2]


def test_regression_says_what_gives_its_values(cli):
    values()
    _, _, err = cli("evaluate", "-m", "net.npz", "--data", "data.npz")
    command = err.partition("portable-nn predict ")[2].split()[0]
    assert cli("predict", "x.npy", "-m", "net.npz", command)[0] == 0


def test_what_a_model_does_not_say_is_given(cli):
    np.savez("bare.npz", W1=WEIGHT, b1=np.zeros(3))
    given = "-m", "bare.npz", "--set", "last=softmax", "--set", "activation=relu"
    data = "--data", "x.npy", "--labels", "y.npy"
    assert "correct   30/40\n" in cli("evaluate", *given, *data)[1]
    assert "Dense(3, 3, 'softmax')" in cli("summary", *given)[1]
    assert "0.7500" in cli("compare", "-b", "numpy", "--iterations", "1", *given, *data)[1]


@pytest.mark.parametrize(("names", "classes"), [(NAMES, "cat,dog,eel"), (np.arange(1, 4), "1,2,3")], ids=str)
def test_classes_that_a_model_does_not_say_are_given(cli, names, classes):
    pnn.save(pnn.Network(NAMED.layers, inputs=NAMED.inputs), "model.npz")
    write_table(names[TRUTH])
    command = "evaluate", "--model", "model.npz", "--data", "data.csv"
    assert "--set classes=" in cli(*command)[2]
    status, out, _ = cli(*command, "--set", f"classes={classes}")
    assert (status, out.splitlines()[-1]) == (0, "accuracy  0.7500")
    assert cli("convert", "model.npz", "whole.npz", "--set", f"classes={classes}")[0] == 0
    assert pnn.load("whole.npz").classes == tuple(names.tolist())


def test_a_comparison_knows_the_classes(cli):
    pytest.importorskip("jinja2", reason='pip install "portable-nn[plot]"')
    write_table(NAMES[TRUTH])
    files = "--json", "c.json", "--html", "c.html"
    assert (
        cli("compare", "-b", "numpy", "--iterations", "1", "-m", "named.npz", "--data", "data.csv", *files)[0]
        == 0
    )
    with open("c.json") as file:
        assert json.load(file)["classes"] == NAMES.tolist()
    with open("c.html") as file:
        assert "most often confused: cat read as " in (page := file.read()) or "read as cat" in page


def test_a_picture_of_classes(cli, monkeypatch):
    pictures = pytest.importorskip("portable_nn.report.pictures", reason='pip install "portable-nn[plot]"')
    drawn, draw = [], pictures.confusion
    monkeypatch.setattr(pictures, "confusion", lambda *arguments: drawn.append(draw(*arguments)) or drawn[-1])
    np.savez("data.npz", x=X, labels=CLASSES[TRUTH])
    assert cli("plot", "confusion", "-o", "c.svg", "-m", "numbered.npz", "--data", "data.npz") == (0, "", "")
    (figure,) = drawn
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["3", "1", "70000"]
    assert figure.axes[0].get_title() == "30 of 40 right"
