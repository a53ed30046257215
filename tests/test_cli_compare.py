"""`portable-nn compare` and `portable-nn plot`, run in this process."""

import errno
import json
import os
import sys

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.__main__ import main

for module in ("typer", "rich", "matplotlib", "jinja2"):
    pytest.importorskip(module, reason='pip install "portable-nn[cli,plot]"')

QUICK = "--iterations", 1, "--warm-up", 0, "--batch-size", 64


@pytest.fixture
def cli(monkeypatch, capsys):
    """Run a command: exit status, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["portable-nn", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Some images with their labels in a file."""
    path = tmp_path_factory.mktemp("data") / "some.npz"
    images, labels = pnn.datasets.mnist("test")
    np.savez(path, images=images[:300].reshape(-1, 28, 28), labels=labels[:300])
    return path


def test_one_table_and_what_to_take_away(cli, data, tmp_path):
    files = {suffix: tmp_path / f"found.{suffix}" for suffix in ("json", "html", "png")}
    status, output, errors = cli(
        "compare", "--backend", "numpy", "--backend", "array_api_strict:device1", "--data", data, *QUICK,
        "--json", files["json"], "--html", files["html"], "--plot", files["png"],
    )  # fmt: skip
    assert (status, errors) == (0, "")
    lines = output.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["backend", "numpy", "array_api_strict:device1"]
    assert any(line.startswith("All agree with NumPy in float64") for line in lines)
    record = json.loads(files["json"].read_text(encoding="utf-8"))
    assert [row["labels"]["total"] for row in record["rows"]] == [300, 300]
    assert files["html"].read_text(encoding="utf-8").startswith("<!doctype html>")
    assert files["png"].read_bytes().startswith(b"\x89PNG")


def test_exit_1_where_parity_fails(cli, data):
    status, output, _ = cli("compare", "-b", "faulty:RUNS_TF32", "-b", "faulty:CRASHING", "--data", data, *QUICK)
    assert status == 1
    assert "float32 products are rounded to tf32" in output
    assert "SIGABRT" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-b", "torhc"], "choose one of numpy"),
        (["--dtype", "float31"], "float16, bfloat16, float32, float64"),
        (["--sweep", "--batch-size", 3], "leave --batch-size out"),
        (["--data", "nowhere.npy"], "nowhere.npy"),
        (["--plot", "picture.bmp"], ".png or .svg"),
    ],
)
def test_misuse_is_one_line_and_exit_2(cli, arguments, words):
    status, output, errors = cli("compare", *arguments)
    assert (status, output) == (2, "")
    assert words in errors
    assert errors.count("\n") == 1


def test_data_without_images(cli, tmp_path):
    np.savez(tmp_path / "odd.npz", pictures=np.zeros(3), labels=np.zeros(3), more=np.zeros(3))
    status, _, errors = cli("compare", "--data", tmp_path / "odd.npz")
    assert status == 2
    assert "holds pictures, labels, more: name the samples images or x or X" in errors


def test_images_without_labels(cli, data, tmp_path):
    with np.load(data) as file:
        np.save(tmp_path / "images.npy", file["images"])
    status, output, _ = cli("compare", "-b", "numpy", "--data", tmp_path / "images.npy", "--in-process", *QUICK)
    assert status == 0
    assert "accuracy" not in output


def test_explain(cli):
    status, output, _ = cli("evaluate", "--backend", "array_api_strict:device1", "--explain")
    assert status == 0
    assert output.splitlines()[-6:] == [
        "computed in  array_api_strict, where the input is",
        "device       device1",
        "dtype        float32",
        "input        cast, uint8 to float32; not moved",
        "weights      copied, 181,440 bytes",
        "products     rounded to float32",
    ]


@pytest.mark.parametrize("picture", ["activations", "confusion", "mistakes"])
def test_plot(cli, data, tmp_path, picture):
    status, output, errors = cli("plot", picture, "--data", data, "--out", tmp_path / "picture.svg")
    assert (status, output, errors) == (0, "", "")
    assert (tmp_path / "picture.svg").read_text(encoding="utf-8").count("<svg ") == 1


def test_plot_activations_by_name(cli, tmp_path):
    status, output, errors = cli("plot", "activations", "silu", "gelu", "--out", tmp_path / "picture.svg")
    assert (status, output, errors) == (0, "", "")
    drawn = (tmp_path / "picture.svg").read_text(encoding="utf-8")
    assert [name for name in pnn.activations.__all__ if f"<!-- {name}:" in drawn] == ["gelu", "silu"]


@pytest.mark.parametrize("picture", ["errors", "sweep"])
def test_plot_what_compare_has_written(cli, data, tmp_path, picture):
    cli("compare", "-b", "numpy", "--data", data, "--in-process", *QUICK, "--json", tmp_path / "found.json")
    status, _, errors = cli("plot", picture, "--from", tmp_path / "found.json", "--out", tmp_path / "picture.png")
    assert (status, errors) == (0, "")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("picture", "draws", "sizes"), [("errors", "errors", [1]), ("sweep", "throughput", [1, 3])]
)
def test_plot_what_is_compared_now(cli, data, tmp_path, monkeypatch, picture, draws, sizes):
    from portable_nn.report import pictures

    drawn, draw = [], getattr(pictures, draws)
    monkeypatch.setattr(pictures, draws, lambda found: drawn.append(found) or draw(found))
    monkeypatch.setattr("portable_nn.cli.plotting.SWEEP", (3,))
    status, output, errors = cli("plot", picture, "-b", "numpy", "--data", data, "-o", tmp_path / "picture.png")
    assert (status, output, errors) == (0, "", "")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    ((row,), found) = drawn[0].rows, drawn[0]
    assert (row.backend, row.state, list(found.batch_sizes), found.samples) == ("numpy", "agrees", sizes, 300)


WRITES = [
    ("compare", "--json", "found.json"),
    ("compare", "--html", "found.html"),
    ("compare", "--plot", "found.svg"),
    ("plot", "--out", "found.png"),
]


@pytest.fixture
def writing(cli, data, tmp_path):
    """Run a command that writes one file."""

    def run(command, option, path, *arguments):
        options = {"compare": ["-b", "numpy", "--in-process", *QUICK], "plot": ["confusion"]}[command]
        return cli(command, *options, "--data", data, option, tmp_path / path, *arguments)

    return run


@pytest.mark.parametrize(("command", "option", "name"), WRITES)
def test_a_file_that_exists_takes_force(writing, tmp_path, command, option, name):
    (tmp_path / name).write_text("precious")
    status, output, errors = writing(command, option, name)
    assert (status, output) == (2, "")
    assert f"{name} exists" in errors
    assert "--force" in errors
    assert errors.count("\n") == 1
    assert (tmp_path / name).read_text() == "precious"
    assert writing(command, option, name, "--force")[0] == 0
    assert b"precious" not in (tmp_path / name).read_bytes()
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(("command", "option", "name"), WRITES)
def test_what_is_read_is_never_written_over(writing, data, tmp_path, command, option, name):
    net = tmp_path / "net.safetensors"
    pnn.save(pnn.load("mnist"), net)
    for source, arguments in ((data, ()), (net, ("--model", net))):
        os.symlink(source, tmp_path / name)
        before = source.read_bytes()
        status, output, errors = writing(command, option, name, "--force", *arguments)
        assert (status, output) == (2, "")
        assert f"{name} is an input" in errors
        assert source.read_bytes() == before
        (tmp_path / name).unlink()


def test_what_is_drawn_is_never_written_over(cli, tmp_path):
    (tmp_path / "found.json").write_text("{}")
    os.symlink("found.json", tmp_path / "found.svg")
    status, _, errors = cli(
        "plot", "sweep", "--from", tmp_path / "found.json", "--out", tmp_path / "found.svg", "--force"
    )
    assert status == 2
    assert "is an input" in errors
    assert (tmp_path / "found.json").read_text() == "{}"


def test_one_file_for_two_options(cli, tmp_path):
    file = tmp_path / "found.html"
    status, output, errors = cli("compare", "-b", "numpy", "--html", file, "--json", file)
    assert (status, output) == (2, "")
    assert "written twice" in errors


@pytest.mark.parametrize(("command", "option", "name"), WRITES)
def test_a_write_that_fails_leaves_the_old_file(writing, tmp_path, monkeypatch, command, option, name):
    (tmp_path / name).write_text("precious")

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    status, _, errors = writing(command, option, name, "--force")
    assert status == 2
    assert f"No space left on device: '{tmp_path / name}'" in errors
    assert (tmp_path / name).read_text() == "precious"
    assert os.listdir(tmp_path) == [name]
