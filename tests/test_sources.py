"""Files of many kinds as data: tables by the names of columns, archives, several files as one."""

import os
import sys

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.sources import source_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3))
NET = pnn.Network([pnn.Dense(RNG.normal(size=(3, 4)), None, "softmax")], inputs=["a", "b", "c"])


def write_table(path, rows, names="c,a,b"):
    order = ["abc".index(name) for name in names.split(",")]
    np.savetxt(path, rows[:, order], fmt="%.17g", delimiter=",", header=names, comments="")


def test_tables_go_by_the_names_of_inputs(tmp_path):
    write_table(tmp_path / "x.csv", X)
    np.testing.assert_array_equal(pnn.infer(NET, tmp_path / "x.csv", outputs=True), NET(X))
    with pytest.raises(pnn.FormatError, match=r"x\.csv lacks the columns d and has a besides"):
        pnn.infer(NET.described(inputs=["d", "b", "c"]), tmp_path / "x.csv")


def test_tables_of_several_orders_are_one(tmp_path):
    write_table(tmp_path / "x-0.csv", X[:20])
    write_table(tmp_path / "x-1.csv", X[20:], "b,c,a")
    for data in (tmp_path / "x-*.csv", [tmp_path / "x-0.csv", tmp_path / "x-1.csv"]):
        np.testing.assert_array_equal(pnn.infer(NET, data), NET.predict(X))
    np.testing.assert_array_equal(source_of(tmp_path / "x-*.csv", inputs=NET.inputs)[15:25], X[15:25])


def test_archives_by_name(tmp_path):
    np.savez(tmp_path / "x.npz", x=X, y=X[:, 0], other=-X)
    np.testing.assert_array_equal(pnn.infer(NET, tmp_path / "x.npz"), NET.predict(X))
    np.testing.assert_array_equal(pnn.infer(NET, source_of(tmp_path / "x.npz", array="other")), NET.predict(-X))


@pytest.mark.parametrize("write", [write_table, lambda path, rows: np.savez(path, x=rows)], ids=["csv", "npz"])
def test_killed_work_goes_on(tmp_path, write):
    path, out = tmp_path / f"x.{'csv' if write is write_table else 'npz'}", tmp_path / "labels.npy"
    write(path, X)

    def stop(done):
        if done >= 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pnn.infer(NET, path, out=out, batch_size=10, progress=stop)
    done = []
    pnn.infer(NET, path, out=out, batch_size=10, progress=done.append)
    assert done == [30, 40, 50]
    np.testing.assert_array_equal(np.load(out), NET.predict(X))


def test_a_table_that_changes_is_told(tmp_path):
    write_table(tmp_path / "x.csv", X)
    source = source_of(tmp_path / "x.csv", inputs=NET.inputs)
    write_table(tmp_path / "x.csv", X + 1)
    os.utime(tmp_path / "x.csv", ns=(1, 1))
    with pytest.raises(pnn.FormatError, match="has changed since the work began"):
        source[:]


@pytest.mark.parametrize("out", [None, "y.npy", "y.zarr"])
def test_a_file_that_changes_meanwhile_gives_no_results(tmp_path, out):
    if out == "y.zarr":
        pytest.importorskip("zarr", reason="pip install zarr")
    path = tmp_path / "x.npy"
    np.save(path, X)

    def change(done):
        os.utime(path, ns=(0, 0))

    with pytest.raises(pnn.FormatError, match=r"x\.npy has changed since the work began: begin anew"):
        pnn.infer(NET, path, out=out and tmp_path / out, batch_size=10, block=10, progress=change)
    assert not out or not (tmp_path / out).exists()


def test_a_table_is_never_written_over(tmp_path):
    write_table(tmp_path / "x.csv", X)
    os.link(tmp_path / "x.csv", tmp_path / "out.npy")
    with pytest.raises(pnn.OutputError, match="is an input"):
        pnn.infer(NET, tmp_path / "x.csv", out=tmp_path / "out.npy", overwrite=True)


def test_only_samples_are_taken(tmp_path):
    np.save(tmp_path / "x.npy", X)
    source = source_of(tmp_path / "x.npy")
    assert (source.shape, source.ndim) == (X.shape, X.ndim)
    np.testing.assert_array_equal(source[2:4, ...], X[2:4])
    with pytest.raises(TypeError, match="only samples can be taken from files"):
        source[:, 0]


def test_no_file_is_no_data():
    with pytest.raises(pnn.FormatError, match="there is no file to read: give a path, or a pattern"):
        source_of([])


def test_a_file_that_is_gone_meanwhile_is_told(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, X)
    source = source_of(path)
    path.unlink()
    with pytest.raises(pnn.FormatError, match=r"x\.npy cannot be read: No such file or directory"):
        source[:]


def test_a_folder_without_images_asks_for_zarr(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(pnn.FormatError, match="is a folder without PNG images, and zarr arrays need zarr: pip"):
        pnn.infer(NET, tmp_path)
