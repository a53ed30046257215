"""Files and options that do not fit `compare` and `plot`: one line, exit 2, no traceback."""

import sys

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn import metrics
from portable_nn.__main__ import main

pytest.importorskip("matplotlib", reason='pip install "portable-nn[plot]"')
pytest.importorskip("typer", reason='pip install "portable-nn[cli]"')


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    images, labels = pnn.datasets.mnist("test")
    np.savez("short.npz", images=images[:9], labels=labels[:8])
    np.savez("negative.npz", images=images[:9], labels=-labels[:9])
    np.savez("floats.npz", images=images[:9], labels=labels[:9] / 2)
    np.savez("two.npz", a=images[:2], b=images[:2])
    np.savez("one.npz", x=np.array(3.0))
    np.save("number.npy", np.array(3.0))
    pnn.save(pnn.Network([pnn.Dense(np.ones((784, 1)))]), "regression.safetensors")
    (tmp_path / "really.npz").write_bytes((tmp_path / "number.npy").read_bytes())
    (tmp_path / "data.mat").touch()
    (tmp_path / "latin1.json").write_bytes(b"\xff\xfe")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["portable-nn", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("plot confusion --out c.png --data short.npz", "give one integer for each"),
        ("plot mistakes --out c.png --data negative.npz", "labels run from -"),
        ("plot mistakes --out c.png --data floats.npz", "give one integer for each"),
        ("plot confusion --out c.png --data really.npz", "is not an .npz of arrays"),
        ("plot sweep --out c.png --from latin1.json", "latin1.json is not a comparison"),
        ("plot errors --out c.png --from short.npz", "short.npz is not a comparison"),
        ("plot confusion --out c.png --backend numpy", "--backend is for errors and sweep"),
        ("plot activations swish --out c.png", "choose one of absolute, celu"),
        ("plot sweep relu --out c.png", "names are for activations: leave relu out"),
        ("plot confusion --out c.png --from latin1.json", "--from is for errors and sweep"),
        ("compare --backend numpy --data number.npy", "samples along their first axis"),
        ("evaluate --data one.npz", "one.npz holds one number: data have samples along their first axis"),
        ("compare --backend numpy --json no/such.json", "there is no folder no"),
        ("compare --backend numpy --data two.npz", "two.npz holds a, b: name the samples images or x or X\n"),
        ("predict number.npy", "samples along their first axis"),
        ("predict data.mat", "give a .npy, .npz, .csv or IDX file, a folder of PNG images, or a zarr array"),
        ("evaluate --explain --json", "leave --json out"),
        ("evaluate -b jax -b torch", "--backend is taken once here: give one"),
        ("evaluate --model mnist -m book", "--model is taken once here: give one"),
        ("predict x.npy --backend numpy -b torch", "--backend is taken once here"),
        ("predict x.npy --out a.npy --out b.npy", "--out is taken once here"),
        ("compare --json a.json --json b.json", "--json is taken once here"),
        ("plot sweep --out a.png -o b.png", "--out is taken once here"),
        ("convert a.npz b.npz --set last=softmax --set last=tanh", "--set gives last twice"),
        ("summary -m mnist -m book", "--model is taken once here"),
        ("summary model.pt", "model.pt follows no option: give --model model.pt;"),
        ("evaluate x.npy", "x.npy follows no option: give --model x.npy or --data x.npy"),
        ("backends torch", "unexpected extra argument"),
        ("evaluate --model regression.safetensors", "no labels: call portable-nn predict --outputs, or"),
        (
            "predict number.npy --model regression.safetensors",
            "no labels: call portable-nn predict --outputs, or",
        ),
        (
            "plot confusion -o c.png --model regression.safetensors",
            "no labels: call portable-nn predict --outputs, or",
        ),
        ("evaluate --backend cuda:0", "did you mean 'torch:cuda:0'?"),
    ],
)
def test_one_line(cli, command, message):
    status, output = cli(*command.split())
    assert status == 2
    assert message in output.err
    assert output.err.count("\n") == 1


@pytest.mark.parametrize("force", [False, True])
def test_files_to_write_that_would_destroy_others(tmp_path, force):
    typer = pytest.importorskip("typer", reason='pip install "portable-nn[cli]"')
    from portable_nn.cli.options import check_outputs

    path, link, new = tmp_path / "data.npz", tmp_path / "link.npz", tmp_path / "new.html"
    path.write_text("precious")
    link.symlink_to(path)
    check_outputs([new, None], [path, None], force=force)
    with pytest.raises(typer.BadParameter, match="written twice"):
        check_outputs([new, tmp_path / "." / "new.html"], [], force=force)
    with pytest.raises(typer.BadParameter, match="there is no folder"):
        check_outputs([tmp_path / "none" / "new.html"], [], force=force)
    with pytest.raises(pnn.OutputError, match="is an input"):
        check_outputs([new, link], [path], force=force)
    if force:
        check_outputs([path], [], force=force)
    else:
        with pytest.raises(pnn.OutputError, match="exists"):
            check_outputs([path], [], force=force)


def test_one_sigmoid_output_is_two_labels_in_a_picture(cli, tmp_path, monkeypatch):
    net = pnn.Network([pnn.Dense(np.array([[1.0], [0.0]]), None, "sigmoid")])
    pnn.save(net, tmp_path / "net.safetensors")
    x = np.array([[-1.0, 0.0], [1.0, 0.0]])
    np.savez(tmp_path / "data.npz", images=x, labels=np.array([0, 1]))
    drawn = []
    monkeypatch.setattr(
        metrics, "confusion", lambda predicted, labels: drawn.append(predicted) or np.eye(2, dtype=int)
    )
    cli("plot", "confusion", "--model", "net.safetensors", "--data", "data.npz", "--out", "c.svg")
    np.testing.assert_array_equal(drawn[0], [0, 1])


@pytest.mark.parametrize("arguments", [{"backends": []}, {"dtypes": []}])
def test_nothing_to_compare(arguments):
    images, labels = pnn.datasets.mnist("test")
    with pytest.raises(pnn.BackendError, match="nothing to compare"):
        pnn.compare(pnn.load("mnist"), images, labels, **arguments)
