"""A Dask cluster computes networks of several inputs and outputs, and loses nothing of any."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from branching import HEADS, LABELS, TWO, data, wanted, wanted_labels
from clusters import Cluster
from commands import MODULE, environment

import portable_nn as pnn

pytest.importorskip("distributed", reason="pip install 'dask[array,distributed]'")
zarr = pytest.importorskip("zarr", reason="pip install zarr")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="locks are of POSIX: run on Linux or macOS")

GIVEN = data(50, seed=3)
EXACT = wanted(GIVEN)
OPTIONS = {"block": 7, "outputs": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where samples lie, by name in one file, and each in one of its own; and networks."""
    folder = tmp_path_factory.mktemp("data")
    np.savez(folder / "all.npz", **GIVEN)
    for name, array in GIVEN.items():
        np.save(folder / f"{name}.npy", array)
    pnn.save(TWO, folder / "two.safetensors")
    return folder


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster, cluster.client() as client:
        yield client


def tree(folder):
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_several_inputs_and_outputs(folder, client, tmp_path):
    here = pnn.infer(TWO, folder / "all.npz", out=tmp_path / "here.zarr", **OPTIONS)
    by_name = {name: folder / f"{name}.npy" for name in GIVEN}
    for i, source in enumerate([folder / "all.npz", by_name]):
        seen = []
        found = pnn.infer(TWO, source, client=client, out=tmp_path / f"{i}.zarr", progress=seen.append, **OPTIONS)
        np.testing.assert_allclose(found["y"], EXACT["y"], atol=1e-5)
        np.testing.assert_array_equal(found["k"], EXACT["k"])
        assert seen[-1] == 50
        assert tree(tmp_path / f"{i}.zarr") == tree(tmp_path / "here.zarr")
    assert sorted(zarr.open_group(tmp_path / "1.zarr", mode="r").array_keys()) == sorted(here)
    assert sorted(os.listdir(tmp_path)) == ["0.zarr", "1.zarr", "here.zarr"]


def test_several_inputs_or_outputs_alone(folder, client, tmp_path):
    labels = pnn.infer(LABELS, folder / "all.npz", client=client, out=tmp_path / "labels.zarr", block=20)
    np.testing.assert_array_equal(labels[:], wanted_labels(GIVEN))
    found = pnn.infer(HEADS, folder / "x.npy", client=client, out=tmp_path / "heads.zarr", **OPTIONS)
    np.testing.assert_allclose(found["e"], np.exp(found["t"]), rtol=1e-5)


def test_no_samples(client, tmp_path):
    np.savez(tmp_path / "none.npz", **{name: array[:0] for name, array in GIVEN.items()})
    found = pnn.infer(TWO, tmp_path / "none.npz", client=client, out=tmp_path / "y.zarr", **OPTIONS)
    assert {name: array.shape for name, array in found.items()} == {"y": (0, 6), "k": (0,)}


class StoppedError(Exception):
    pass


def test_a_run_that_was_stopped_goes_on_where_both_are(folder, client, tmp_path):
    whole, out = tmp_path / "whole.zarr", tmp_path / "y.zarr"
    pnn.infer(TWO, folder / "all.npz", out=whole, **OPTIONS)

    def stop(done):
        if done >= 30:
            raise StoppedError

    with pytest.raises(StoppedError):
        pnn.infer(TWO, folder / "all.npz", client=client, out=out, progress=stop, **OPTIONS)
    (partial,) = tmp_path.glob("*.partial")
    os.remove(next(partial.glob("k/c.*")))  # as if the kill had come between the two arrays of a block
    seen = []
    pnn.infer(TWO, folder / "all.npz", client=client, out=out, progress=seen.append, **OPTIONS)
    assert 0 < seen[0] < 50
    assert tree(out) == tree(whole)


def test_what_is_no_file_or_not_by_name_is_refused(folder, client, tmp_path):
    mixed = {name: folder / f"{name}.npy" for name in GIVEN} | {"z": GIVEN["z"]}
    for source in GIVEN, mixed, [GIVEN]:
        with pytest.raises(pnn.InputError, match="a cluster reads files"):
            pnn.infer(TWO, source, client=client, out=tmp_path / "y.zarr", **OPTIONS)
    with pytest.raises(pnn.InputError, match="got one of x"):
        pnn.infer(TWO, {"x": folder / "x.npy"}, client=client, out=tmp_path / "y.zarr", **OPTIONS)
    assert os.listdir(tmp_path) == []


def test_the_command(folder, client, tmp_path):
    done = subprocess.run(
        [*MODULE, "predict", folder / "all.npz", "--model", folder / "two.safetensors", "--outputs",
         "--out", tmp_path / "y.zarr", "--scheduler", client.scheduler.address],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    written = f"50 rows of outputs of each of y, k written to {tmp_path / 'y.zarr'}\n"
    assert (done.stdout, done.stderr) == (written, "")
    np.testing.assert_allclose(zarr.open_group(tmp_path / "y.zarr")["y"], EXACT["y"], atol=1e-5)
