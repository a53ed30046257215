"""Results of `infer` in files: whole or not at all, gone on with, and over nothing that is precious."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import portable_nn as pnn

pytestmark = pytest.mark.usefixtures("all_cores")


def test_no_samples_are_an_empty_zarr(tmp_path):
    pytest.importorskip("zarr", reason="pip install zarr")
    net = pnn.Network([pnn.Dense(np.ones((4, 3)))])
    assert pnn.infer(net, np.empty((0, 4)), out=tmp_path / "y.zarr", outputs=True).shape == (0, 3)


def test_a_folder_may_be_named_with_its_stroke(mnist, images, expected, tmp_path):
    pytest.importorskip("zarr", reason="pip install zarr")
    for overwrite in False, True:
        found = pnn.infer(mnist, images[:100], out=f"{tmp_path}/y.zarr/", block=30, overwrite=overwrite)
        assert found.chunks == (30,)
        np.testing.assert_array_equal(found[:], expected[:100])
    assert os.listdir(tmp_path) == ["y.zarr"]


def test_results_of_several_shapes_make_no_file(tmp_path):
    net = pnn.Network([pnn.Rescaling(2.0)])
    with pytest.raises(pnn.ShapeError, match="one dtype and shape"):
        pnn.infer(net, iter([np.ones((2, 3)), np.ones((2, 4))]), outputs=True, out=tmp_path / "y.npy")
    assert list(tmp_path.iterdir()) == []


class StoppedError(Exception):
    pass


def stop(n):
    raise StoppedError


def test_work_with_other_numbers_is_other_work(tmp_path):
    """What is left of each work that was stopped lies in a file of its own."""
    np.save(tmp_path / "x.npy", np.ones((2, 3)))
    layers = [pnn.Rescaling(1.0, 1234567.0)], [pnn.Rescaling(1.0, 1234568.0)], [pnn.Flatten((3,))]
    nets = [pnn.Network(one) for one in layers]
    for net in (*nets, nets[0].compile(), pnn.Network(layers[0])):
        with pytest.raises(StoppedError):
            pnn.infer(net, tmp_path / "x.npy", out=tmp_path / "y.npy", outputs=True, progress=stop)
    assert len(list(tmp_path.glob("*.partial"))) == len(nets) + 1


KILLED = """
import os, signal, sys
import portable_nn as pnn

folder = sys.argv[1]
done = []

def progress(n):
    done.append(n)
    if len(done) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

pnn.infer(pnn.load("mnist"), folder + "/x.npy", out=folder + "/y.npy", batch_size=300, progress=progress)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL is a POSIX signal: run this on Linux or macOS")
def test_a_killed_run_leaves_nothing_and_a_rerun_completes_it(mnist, images, expected, tmp_path):
    np.save(tmp_path / "x.npy", images)
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, check=False)
    assert done.returncode == -9
    assert not (tmp_path / "y.npy").exists()
    seen = []
    pnn.infer(
        mnist, tmp_path / "x.npy", out=tmp_path / "y.npy", batch_size=300, progress=lambda n: seen.append(n)
    )
    assert seen[0] > 300  # it went on, and did not start anew
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy", "y.npy"]


def test_another_network_does_not_go_on_with_the_work(mnist, images, tmp_path):
    np.save(tmp_path / "x.npy", images)
    other = pnn.Network([*mnist.layers[:-1], pnn.Dense(-mnist.layers[-1].weight, None, "softmax")])

    with pytest.raises(StoppedError):
        pnn.infer(mnist, tmp_path / "x.npy", out=tmp_path / "y.npy", batch_size=300, workers=1, progress=stop)
    pnn.infer(other, tmp_path / "x.npy", out=tmp_path / "y.npy", batch_size=300)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), other.predict(images))


@pytest.mark.parametrize("rows", [1, 20, 2001, 20_000])
def test_a_partial_file_that_holds_more_than_there_is(mnist, images, expected, tmp_path, rows):
    np.save(tmp_path / "x.npy", images[:20])

    def label(**options):
        return pnn.infer(mnist, tmp_path / "x.npy", out=tmp_path / "y.npy", **options)

    with pytest.raises(StoppedError):
        label(progress=stop)
    (partial,) = tmp_path.glob("*.partial")
    with partial.open("wb") as file:
        np.save(file, expected[:rows] if rows <= 20 else np.zeros(rows, int))
    if rows <= 2001:  # less than a whole batch, which is computed again
        np.testing.assert_array_equal(label(), expected[:20])
    else:
        with pytest.raises(pnn.FormatError, match=r"holds more than these data give: delete it"):
            label()
        assert not (tmp_path / "y.npy").exists()


@pytest.mark.parametrize("given", ["path", "map", "view"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_data_are_never_written_over(mnist, images, tmp_path, overwrite, given):
    path = tmp_path / "x.npy"
    np.save(path, images)
    mapped = np.load(path, mmap_mode="r")[5:]
    data = {"path": path, "map": mapped, "view": np.asarray(mapped)}[given]
    with pytest.raises(pnn.OutputError, match=r"x\.npy is an input, which it would destroy"):
        pnn.infer(mnist, data, out=path, overwrite=overwrite)
    np.testing.assert_array_equal(np.load(path), images)
    assert os.listdir(tmp_path) == ["x.npy"]


def test_a_file_that_exists_is_written_over_if_that_is_said(mnist, images, expected, tmp_path):
    path = tmp_path / "y.npy"
    path.write_text("precious")
    with pytest.raises(pnn.OutputError, match=r"y\.npy exists: .*overwrite=True"):
        pnn.infer(mnist, images, out=path)
    assert path.read_text() == "precious"
    np.testing.assert_array_equal(pnn.infer(mnist, images, out=path, overwrite=True), expected)


@given(position=st.integers(0, 127), flip=st.integers(1, 255))
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_of_a_damaged_file_only_errors_of_this_package_come(mnist, images, tmp_path, position, flip):
    path = tmp_path / "x.npy"
    path.unlink(missing_ok=True)
    np.save(path, images[:4])
    data = bytearray(path.read_bytes())
    data[position] ^= flip
    path.unlink()
    path.write_bytes(data)
    with suppress(pnn.PortableNNError):
        assert pnn.infer(mnist, path).shape == (4,)


def test_other_data_do_not_go_on_with_the_work(mnist, images, tmp_path):
    """What an iterator or an array of the same shape would give cannot be told: each starts anew."""

    def stopping():
        yield images[:500]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pnn.infer(mnist, stopping(), out=tmp_path / "y.npy")
    assert list(tmp_path.iterdir()) == []
    found = pnn.infer(mnist, iter([images[500:1000]]), out=tmp_path / "y.npy")
    np.testing.assert_array_equal(found, mnist.predict(images[500:1000]))


@pytest.mark.parametrize("name", ["labels.txt", "labels", "labels.npz"])
def test_results_are_written_under_a_name_that_says_how(mnist, images, tmp_path, name):
    with pytest.raises(
        pnn.InputError, match=r"as \.npy or as \.zarr: name labels\.npy or labels\.zarr, got .*labels"
    ):
        pnn.infer(mnist, images[:3], out=tmp_path / name)
    assert list(tmp_path.iterdir()) == []
