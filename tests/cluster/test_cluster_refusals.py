"""What a Dask cluster refuses, or cannot do, is said in one line."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from clusters import COUNT, Cluster, contents, kill, label, until

import portable_nn as pnn

pytest.importorskip("distributed", reason="pip install 'dask[array,distributed]'")
zarr = pytest.importorskip("zarr", reason="pip install zarr")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills are POSIX signals: run on Linux or macOS")


@pytest.mark.parametrize("out", [None, "y.npy"])
def test_results_go_to_a_zarr(mnist, folder, client, tmp_path, out):
    with pytest.raises(pnn.InputError, match=r"a cluster writes to a \.zarr"):
        label(mnist, folder / "x.npy", client, out and tmp_path / out)


def test_data_are_files(mnist, images, folder, client, tmp_path):
    for data in images, 7, np.load(folder / "x.npy", mmap_mode="r"):
        with pytest.raises(pnn.InputError, match="a cluster reads files"):
            label(mnist, data, client, tmp_path / "y.zarr")
    for given in {"workers": 2}, {"batch_size": 10}:
        with pytest.raises(pnn.InputError, match="has workers of its own, and takes whole blocks"):
            label(mnist, folder / "x.npy", client, tmp_path / "y.zarr", **given)
    with pytest.raises(pnn.InputError, match=r"must be a distributed\.Client, got str"):
        label(mnist, folder / "x.npy", "tcp://127.0.0.1:8786", tmp_path / "y.zarr")
    with pytest.raises(pnn.NetworkError, match=r"regression, .*call infer\(net, data, outputs=True\)"):
        label(pnn.Network([pnn.Dense(np.ones((784, 1)))]), folder / "x.npy", client, tmp_path / "y.zarr")
    with pytest.raises(pnn.FormatError, match="no file fits"):
        label(mnist, folder / "z*.npy", client, tmp_path / "y.zarr")
    np.save(tmp_path / "other.npy", images[:5, :700])
    with pytest.raises(pnn.ShapeError, match="files that are read as one"):
        label(mnist, [folder / "x.npy", tmp_path / "other.npy"], client, tmp_path / "y.zarr")
    assert os.listdir(tmp_path) == ["other.npy"]


def test_sources_and_what_exists_are_never_written_over(mnist, folder, client, tmp_path):
    before = contents(folder / "x.zarr/c/0")
    with pytest.raises(pnn.OutputError, match="is an input"):
        label(mnist, folder / "x.zarr", client, folder / "x.zarr", overwrite=True)
    assert contents(folder / "x.zarr/c/0") == before
    zarr.create_array(tmp_path / "y.zarr", data=np.arange(3))
    with pytest.raises(pnn.OutputError, match="exists"):
        label(mnist, folder / "x.npy", client, tmp_path / "y.zarr")
    assert zarr.open_array(tmp_path / "y.zarr").shape == (3,)
    assert label(mnist, folder / "x.npy", client, tmp_path / "y.zarr", overwrite=True).shape == (COUNT,)
    assert os.listdir(tmp_path) == ["y.zarr"]


HIDING = """
import sys

class Hidden:
    def find_spec(name, path=None, target=None):
        if name == {name!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden)
"""


@pytest.fixture
def hiding(tmp_path):
    """The environment of a process that finds a module nowhere."""

    def hide(name):
        folder = tmp_path / "hiding"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(HIDING.format(name=name))
        return {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}

    return hide


@pytest.mark.parametrize(
    ("what", "name", "message"),
    [
        ("worker", "portable_nn", r"tcp://127.* has no portable_nn .*: install it there"),
        ("scheduler", "portable_nn", "the scheduler has no portable_nn"),
        ("worker", "zarr", "cannot do the work: results in a .zarr need zarr"),
    ],
)
def test_each_process_is_asked_whether_it_can(mnist, folder, tmp_path, hiding, what, name, message):
    hidden = hiding(name)
    with Cluster(tmp_path, workers=0, **(hidden if what == "scheduler" else {})) as cluster:
        cluster.add_worker(**(hidden if what == "worker" else {}))
        with cluster.client() as client, pytest.raises(pnn.ClusterError, match=message):
            label(mnist, folder / "x.npy", client, tmp_path / "y.zarr")


def test_another_version_is_named(mnist, folder, tmp_path):
    other = tmp_path / "other" / "portable_nn"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("__version__ = '0.0.1'")
    with Cluster(tmp_path, workers=0) as cluster:
        cluster.add_worker(PYTHONPATH=str(other.parent))
        with (
            cluster.client() as client,
            pytest.raises(pnn.ClusterError, match=r"has portable_nn 0\.0\.1, and here"),
        ):
            label(mnist, folder / "x.npy", client, tmp_path / "y.zarr")


def test_another_version_that_comes_later_is_named(mnist, folder, tmp_path):
    other = tmp_path / "other" / "portable_nn"
    shutil.copytree(Path(pnn.__file__).parent, other, ignore=shutil.ignore_patterns("__pycache__"))
    (other / "__init__.py").write_text((other / "__init__.py").read_text() + "\n__version__ = '0.0.1'\n")
    with Cluster(tmp_path) as cluster, cluster.client() as client:

        def exchange(done):
            if len(cluster.processes) == 2:
                cluster.add_worker(PYTHONPATH=str(other.parent))
                until(lambda: len(client.nthreads()) == 2)
                kill(cluster.workers[0])

        with pytest.raises(pnn.ClusterError, match=r"a worker has portable_nn 0\.0\.1, the client"):
            label(mnist, folder / "x.npy", client, tmp_path / "y.zarr", progress=exchange)


def test_a_source_that_changes_meanwhile_gives_no_results(mnist, images, client, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, images)
    with pytest.raises(pnn.FormatError, match=r"x\.npy has changed since the work began"):
        label(mnist, path, client, tmp_path / "y.zarr", progress=lambda done: os.utime(path, ns=(0, 0)))
    assert not (tmp_path / "y.zarr").exists()


def test_no_workers(mnist, folder, tmp_path):
    import dask

    with (
        Cluster(tmp_path, workers=0) as cluster,
        cluster.client() as client,
        dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}),
        pytest.raises(pnn.ClusterError, match=r"scheduler at tcp://.* has had no workers for 0\.2 s: start some"),
    ):
        label(mnist, folder / "x.npy", client, tmp_path / "y.zarr")


DEADLY = """
import os, sys

def die(event, arguments):
    if event == "open" and ".partial" in str(arguments[0]) and str(arguments[0]).endswith(".tmp"):
        os._exit(1)

sys.addaudithook(die)
"""


def test_a_block_that_kills_its_workers(mnist, folder, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(DEADLY)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with Cluster(tmp_path, workers=0, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as cluster:
        cluster.add_worker(PYTHONPATH=path)
        with (
            cluster.client() as client,
            pytest.raises(pnn.ClusterError, match=r"block \d+ has killed the 1 workers"),
        ):
            label(mnist, folder / "x.npy", client, tmp_path / "y.zarr")


def test_a_full_disk_names_the_file_and_what_was_done_stays(mnist, folder, tmp_path, wanted):
    with Cluster(tmp_path, workers=0) as cluster:
        worker = cluster.add_worker(limit=1500)  # more than what describes the array, less than a block
        with cluster.client() as client:
            with pytest.raises(OSError, match=r"File too large: .*c\.\d+\.0'"):
                label(mnist, folder / "x.npy", client, tmp_path / "y.zarr", outputs=True)
            kill(worker)
            cluster.add_worker()
            label(mnist, folder / "x.npy", client, tmp_path / "y.zarr", outputs=True)
    assert contents(tmp_path / "y.zarr") == wanted
