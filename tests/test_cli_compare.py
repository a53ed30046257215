"""`portable-nn compare` and `portable-nn plot`, run in this process."""

import json
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
    np.savez(tmp_path / "odd.npz", pictures=np.zeros(3))
    status, _, errors = cli("compare", "--data", tmp_path / "odd.npz")
    assert status == 2
    assert "holds pictures: name the arrays images and labels" in errors


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
