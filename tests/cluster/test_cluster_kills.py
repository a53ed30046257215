"""A Dask cluster loses nothing where client, workers or scheduler are killed."""

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from random import Random

import numpy as np
import pytest
from clusters import BLOCK, COUNT, KILLS, Cluster, after, blocks, command, contents, kill, label, until
from commands import MODULE, environment

import portable_nn as pnn

pytest.importorskip("distributed", reason="pip install 'dask[array,distributed]'")
pytest.importorskip("zarr", reason="pip install zarr")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills are POSIX signals: run on Linux or macOS")


class StoppedError(Exception):
    pass


def stop_after(n):
    def stop(done):
        if done >= n:
            raise StoppedError

    return stop


def test_a_run_that_was_stopped_goes_on_and_others_do_not_go_on_with_it(mnist, folder, client, tmp_path, wanted):
    out, x = tmp_path / "y.zarr", folder / "x.npy"
    with pytest.raises(StoppedError):
        label(mnist, x, client, out, outputs=True, progress=stop_after(10 * BLOCK))
    (partial,) = tmp_path.glob("*.partial")
    for other in {"block": 2 * BLOCK}, {"outputs": False}, {"backend": "array_api_strict"}:
        with pytest.raises(StoppedError):
            label(mnist, x, client, out, **{"outputs": True, "progress": stop_after(0)} | other)
    assert len(list(tmp_path.glob("*.partial"))) == 4
    (partial / f".{'0' * 32}.tmp").write_bytes(b"left over")
    first = []
    label(mnist, x, client, out, outputs=True, progress=first.append)
    assert first[0] >= 10 * BLOCK
    assert contents(out) == wanted


def test_a_second_client_gets_an_error_and_changes_nothing(mnist, folder, client, tmp_path, wanted):
    out, x = tmp_path / "y.zarr", folder / "x.npy"
    said = []

    def second(done):
        if not said:
            command = [*MODULE, "predict", x, "--out", out, "--probabilities", "--block-size", str(BLOCK)]
            there = [*command, "--scheduler", client.scheduler.address]
            said.append(subprocess.run(there, capture_output=True, text=True, env=environment(), check=False))

    label(mnist, x, client, out, outputs=True, progress=second)
    assert said[0].returncode == 2
    assert re.fullmatch("portable-nn: .*is being written by another process: wait .*\n", said[0].stderr)
    assert contents(out) == wanted


def moments(kills, seed):
    """The numbers of blocks after which something is killed."""
    return sorted(Random(seed).sample(range(COUNT // BLOCK - 10), kills))


@pytest.mark.parametrize("kills", KILLS)
def test_a_killed_client(folder, client, tmp_path, wanted, kills):
    for n in moments(kills, seed=1):
        running = command(folder, tmp_path / "y.zarr", client.scheduler.address)
        after(running, tmp_path, n)
        running.kill()
        assert running.communicate()[0] == ""
    done = command(folder, tmp_path / "y.zarr", client.scheduler.address)
    assert done.communicate() == (f"{COUNT} rows of outputs written to {tmp_path / 'y.zarr'}\n", "")
    assert contents(tmp_path / "y.zarr") == wanted
    assert os.listdir(tmp_path) == ["y.zarr"]


@pytest.mark.parametrize("kills", KILLS)
def test_a_killed_worker(mnist, folder, tmp_path, wanted, kills):
    with Cluster(tmp_path, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="100") as cluster:

        def kill_workers():
            for n in moments(kills, seed=2):
                new = cluster.add_worker()
                until(lambda n=n: len(blocks(tmp_path)) >= n)
                kill(cluster.workers.pop())
                cluster.workers.append(new)

        with cluster.client() as client, ThreadPoolExecutor(1) as pool:
            killing = pool.submit(kill_workers)
            label(mnist, folder / "x.npy", client, tmp_path / "y.zarr", outputs=True)
            killing.result()
    assert contents(tmp_path / "y.zarr") == wanted


def test_a_worker_that_is_killed_before_what_it_did_is_counted(mnist, folder, tmp_path):
    with Cluster(tmp_path) as cluster, cluster.client() as client:

        def kill_the_worker(done):
            if len(cluster.workers) == 1 and done < COUNT:
                until(lambda: len(blocks(tmp_path)) == COUNT // 500)
                kill(cluster.workers[0])
                until(lambda: any(future.status == "lost" for future in client.futures.values()))
                cluster.workers.append(cluster.add_worker())

        options = {"block": 500, "outputs": True, "progress": kill_the_worker}
        found = label(mnist, folder / "x.npy", client, tmp_path / "y.zarr", **options)
    np.testing.assert_allclose(found[:], mnist(np.load(folder / "x.npy")), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kills", KILLS)
def test_a_killed_scheduler(mnist, folder, tmp_path, wanted, kills):
    def kill_scheduler(cluster, n):
        until(lambda: len(blocks(tmp_path)) >= n)
        kill(cluster.scheduler)

    for n in moments(kills, seed=3):
        with Cluster(tmp_path) as cluster, cluster.client() as client, ThreadPoolExecutor(1) as pool:
            killing = pool.submit(kill_scheduler, cluster, n)
            with pytest.raises(
                pnn.ClusterError, match=r"the scheduler at tcp://.* was lost.*begin the same again to go on"
            ):
                label(mnist, folder / "x.npy", client, tmp_path / "y.zarr", outputs=True)
            killing.result()
    with Cluster(tmp_path) as cluster, cluster.client() as client:
        label(mnist, folder / "x.npy", client, tmp_path / "y.zarr", outputs=True)
    assert contents(tmp_path / "y.zarr") == wanted
