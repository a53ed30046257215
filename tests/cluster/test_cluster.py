"""A Dask cluster computes what one machine does."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from clusters import BLOCK, COUNT, contents, label

import portable_nn as pnn

pytest.importorskip("distributed", reason="pip install 'dask[array,distributed]'")
zarr = pytest.importorskip("zarr", reason="pip install zarr")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills are POSIX signals: run on Linux or macOS")


def sources(folder):
    return {
        "npy": folder / "x.npy",
        "zarr": str(folder / "x.zarr"),
        "pattern": f"{folder}/part-*.npy",
        "list": [folder / "part-0.npy", f"{folder}/part-[1-3].npy"],
        "generator": (folder / f"part-{i}.npy" for i in range(4)),
    }


@pytest.mark.parametrize("source", sources(Path()))
def test_every_source_gives_the_labels_of_one_machine(mnist, images, folder, client, tmp_path, source):
    seen = []
    found = label(mnist, sources(folder)[source], client, tmp_path / "y.zarr", block=999, progress=seen.append)
    assert (found.shape, found.dtype, found.chunks) == ((COUNT,), np.int64, (999,))
    np.testing.assert_array_equal(found[:], mnist.predict(images))
    assert seen == sorted(seen)
    assert seen[-1] == COUNT
    assert os.listdir(tmp_path) == ["y.zarr"]
    assert sorted(os.listdir(tmp_path / "y.zarr")) == [*(f"c.{i}" for i in range(6)), "zarr.json"]


def test_outputs_are_those_of_one_machine(mnist, images, wanted, tmp_path):
    for name, data in wanted.items():
        (tmp_path / name).write_bytes(data)
    found = zarr.open_array(tmp_path, mode="r")
    assert (found.shape, found.dtype) == ((COUNT, 10), np.float32)
    assert np.isnan(found.fill_value)
    np.testing.assert_allclose(found[:], mnist(images), rtol=0, atol=1e-6)


def test_one_machine_writes_the_same_bytes(mnist, folder, client, wanted, tmp_path):
    pnn.infer(mnist, folder / "x.npy", out=tmp_path / "one.zarr", block=BLOCK, outputs=True)
    assert contents(tmp_path / "one.zarr") == wanted
    for block in 1, 4999, 5000, 5001:
        if block > 1:
            label(mnist, folder / "x.npy", client, tmp_path / f"{block}.zarr", block=block)
            pnn.infer(mnist, folder / "x.npy", out=tmp_path / f"{block} here.zarr", block=block)
            assert contents(tmp_path / f"{block}.zarr") == contents(tmp_path / f"{block} here.zarr")


def test_a_client_without_a_thread_to_tell_what_has_ended(mnist, folder, client, wanted, tmp_path, monkeypatch):
    """Which distributed starts, and says nothing where the system gives none, for want of memory."""
    import distributed

    monkeypatch.setattr(distributed.Future, "add_done_callback", lambda *_: None)
    found = label(mnist, folder / "x.npy", client, tmp_path / "y.zarr", outputs=True)
    assert contents(found.store.root) == wanted


def test_no_samples(mnist, client, tmp_path):
    np.save(tmp_path / "none.npy", np.zeros((0, 784), np.uint8))
    for outputs, shape in (False, (0,)), (True, (0, 10)):
        found = label(mnist, tmp_path / "none.npy", client, tmp_path / f"{outputs}.zarr", outputs=outputs)
        assert found.shape == shape


def test_samples_of_another_shape_are_flattened_and_backends_named(mnist, images, client, tmp_path):
    np.save(tmp_path / "x.npy", images[:100].reshape(-1, 28, 28))
    found = label(mnist, tmp_path / "x.npy", client, tmp_path / "y.zarr", backend="array_api_strict:device1")
    np.testing.assert_array_equal(found[:], mnist.predict(images[:100]))


def test_results_that_are_all_nan_or_zero_are_there(client, tmp_path):
    np.save(tmp_path / "x.npy", np.full((100, 3), np.nan))
    net = pnn.Network([pnn.Rescaling(1.0)])
    with pytest.warns(pnn.InputWarning, match="all values that came are nan"):
        found = label(net, tmp_path / "x.npy", client, tmp_path / "y.zarr", outputs=True)
    assert found.nchunks_initialized == 2
    np.save(tmp_path / "x.npy", np.zeros((100, 3)))
    zero = label(pnn.Network([pnn.Dense(np.eye(3))]), tmp_path / "x.npy", client, tmp_path / "z.zarr")
    assert (zero.fill_value, zero.nchunks_initialized, zero[:].max()) == (-1, 2, 0)


def damaged(images, how):
    """Images that no network was meant for, and what is said of them: once, however many blocks there are."""
    x = images[:200].astype(np.float32)
    match how:
        case "all nan":
            x[:] = np.nan
            return x, ["nothing but nan in 200 of the samples"]
        case "some nan":
            x[20:60], x[150:] = np.nan, np.nan
            return x, ["nothing but nan in 90 of the samples"]
        case "scaled":
            return x / 255, ["do not scale them yourself"]


@pytest.mark.parametrize("how", ["all nan", "some nan", "scaled"])
def test_what_workers_see_is_said_once_as_on_one_machine(images, client, tmp_path, how):
    x, said = damaged(images, how)
    np.save(tmp_path / "x.npy", x)
    for there in {"client": client, "block": 10}, {}:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pnn.infer(pnn.load("mnist"), tmp_path / "x.npy", out=tmp_path / f"{len(there)}.zarr", **there)
        assert [warning.category for warning in caught] == [pnn.InputWarning] * len(said)
        for warning, part in zip(caught, said, strict=True):
            assert part in str(warning.message)
            assert warning.filename == __file__
    if how == "all nan":
        with pytest.warns(pnn.InputWarning, match="all values that came are nan: so are the outputs") as outputs:
            label(pnn.load("mnist"), tmp_path / "x.npy", client, tmp_path / "o.zarr", outputs=True)
        assert len(outputs) == 1
