"""A Dask cluster computes what one machine does, says in one line what is amiss, and loses nothing."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import numpy as np
import pytest
from clusters import Cluster, blocks, contents, kill, until
from commands import MODULE, environment

import portable_nn as pnn
from portable_nn.clients import connected

pytest.importorskip("distributed", reason="pip install 'dask[array,distributed]'")
zarr = pytest.importorskip("zarr", reason="pip install zarr")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills are POSIX signals: run on Linux or macOS")

COUNT, BLOCK = 5000, 50


@pytest.fixture(scope="module")
def mnist():
    return pnn.load("mnist")


@pytest.fixture(scope="module")
def images(mnist_test):
    return mnist_test[0][:COUNT]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, images):
    """Where the images lie, whole and in parts."""
    folder = tmp_path_factory.mktemp("data")
    np.save(folder / "x.npy", images)
    for i, part in enumerate(np.split(images, [1234, 1300, 4000])):
        np.save(folder / f"part-{i}.npy", part)
    zarr.create_array(folder / "x.zarr", data=images, chunks=(700, 784))
    return folder


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Of a scheduler with two workers."""
    with Cluster(tmp_path_factory.mktemp("cluster"), workers=2) as cluster, cluster.client() as client:
        yield client


@pytest.fixture(scope="module")
def wanted(mnist, folder, client, tmp_path_factory):
    """The files of an uninterrupted run."""
    out = tmp_path_factory.mktemp("wanted") / "y.zarr"
    pnn.infer(mnist, folder / "x.npy", client=client, out=out, block=BLOCK, outputs=True)
    return contents(out)


def label(net, source, client, out, **options):
    return pnn.infer(net, source, client=client, out=out, **{"block": BLOCK} | options)


# What it computes


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
            return x, ["all values that came are nan", "nothing but nan in 200 of the samples"]
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
    if how == "all nan":  # labels alone mean nothing then: outputs are nan
        with pytest.warns(pnn.InputWarning) as outputs:
            label(pnn.load("mnist"), tmp_path / "x.npy", client, tmp_path / "o.zarr", outputs=True)
        assert len(outputs) == 1


# What it refuses


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


# What it survives


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


def command(folder, out, address, **options):
    """The command that computes what is wanted."""
    return subprocess.Popen(
        [*MODULE, "predict", folder / "x.npy", "--out", out, "--probabilities", "--block-size", str(BLOCK),
         "--scheduler", address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), **options,
    )  # fmt: skip


def after(process, folder, n):
    """Wait until so many blocks are there, or the process has ended."""
    until(lambda: len(blocks(folder)) >= n, process)


def moments(kills, seed):
    """The numbers of blocks after which something is killed."""
    return sorted(Random(seed).sample(range(COUNT // BLOCK - 10), kills))


KILLS = [pytest.param(3, id="3"), pytest.param(20, id="20", marks=pytest.mark.slow)]


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


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_stopped_says_that_it_can_go_on(folder, client, tmp_path, wanted, number, status):
    running = command(folder, tmp_path / "y.zarr", client.scheduler.address)
    after(running, tmp_path, 20)
    running.send_signal(number)
    out, err = running.communicate()
    assert (running.returncode, out) == (status, "")
    assert re.fullmatch("portable-nn: (interrupted|terminated); the same command goes on.*\n", err)
    assert command(folder, tmp_path / "y.zarr", client.scheduler.address).communicate()[1] == ""
    assert contents(tmp_path / "y.zarr") == wanted


def test_workers_of_the_command_itself(folder, tmp_path, wanted):
    running = command(folder, tmp_path / "y.zarr", "local:1", start_new_session=True)
    after(running, tmp_path, 20)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    out, err = running.communicate()
    assert (running.returncode, out) == (130, "")
    assert re.fullmatch("portable-nn: interrupted; the same command goes on.*\n", err)
    done = command(folder, tmp_path / "y.zarr", "local:1")
    assert done.communicate() == (f"{COUNT} rows of outputs written to {tmp_path / 'y.zarr'}\n", "")
    assert contents(tmp_path / "y.zarr") == wanted


def test_workers_of_the_command_itself_leave_nothing_behind():
    before = dict(os.environ)
    with connected("local:1"):
        pass
    assert dict(os.environ) == before


def test_workers_of_the_command_itself_are_silent(capfd):
    with connected("local:1") as client:
        client.run(lambda: logging.getLogger("distributed.worker.state_machine").warning("cancelled"))
        client.run(warnings.warn, "which the client says as well", pnn.InputWarning)
    assert capfd.readouterr() == ("", "")


def test_workers_that_cannot_be_started(monkeypatch):
    import distributed

    def refused(**options):
        raise RuntimeError("Nanny failed to start.")

    monkeypatch.setattr(distributed, "LocalCluster", refused)
    with (
        pytest.raises(pnn.ClusterError, match=r"no workers can be started on this machine: Nanny failed"),
        connected("local:1"),
    ):
        pass


# Stops a command and its workers at one of the moments after a module loads that an audit hook is told of: files,
# modules, sockets, locks.
STOPPED = """
import os, signal, sys

module, at, number, first = sys.argv.pop(1), int(sys.argv.pop(1)), int(sys.argv.pop(1)), os.getpid()

def count(event, arguments):
    global module, at
    if event == "import" and arguments[0] == module:
        module = None
    if module is None and os.getpid() == first and event != "object.__getattr__":
        at -= 1
        if at == 0:
            os.killpg(0, number)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.addaudithook(count)

from portable_nn.__main__ import command
command()
"""


@pytest.mark.parametrize("stops", KILLS)
def test_a_command_that_is_stopped_anywhere_with_its_workers(folder, tmp_path, wanted, stops):
    random, out = Random(5), tmp_path / "y.zarr"
    command = ["predict", folder / "x.npy", "--out", out, "--force", "--probabilities", "--block-size", "50"]
    for _ in range(stops):
        module, last = random.choice([("typer", 8000), ("distributed", 6000), ("distributed.deploy", 1000)])
        number = random.choice([signal.SIGINT, signal.SIGTERM])
        done = subprocess.run(
            [sys.executable, "-c", STOPPED, module, str(random.randrange(1, last)), str(int(number)),
             *command, "--scheduler", "local:1"],
            capture_output=True, text=True, check=False, env=environment(), start_new_session=True,
        )  # fmt: skip
        if done.returncode == 0:  # it has ended before
            assert (done.stdout, done.stderr) == (f"{COUNT} rows of outputs written to {out}\n", "")
        else:
            assert done.returncode == 128 + number
            assert re.fullmatch("portable-nn: (interrupted|terminated)(; the same command .*)?\n", done.stderr)
    assert subprocess.run([*MODULE, *command, "--scheduler", "local:1"], env=environment(), check=True)
    assert contents(out) == wanted
    assert os.listdir(tmp_path) == ["y.zarr"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scheduler", "local:two", "--out", "y.zarr"], "local workers are counted, local:4 for instance"),
        (["--scheduler", "tcp://127.0.0.1:9", "--out", "y.zarr"], "there is no scheduler at tcp://127.0.0.1:9"),
        (["--scheduler", "nonsense", "--out", "y.zarr"], "there is no scheduler at nonsense"),
        (["--scheduler", "local", "--out", "y.npy"], "a cluster writes to a zarr array: give --out labels.zarr"),
        (["--scheduler", "local", "--out", "y.zarr", "--workers", "2"], "give --block-size alone"),
    ],
)
def test_what_goes_wrong_is_one_line(folder, tmp_path, arguments, message):
    done = subprocess.run(
        [*MODULE, "predict", folder / "x.npy", *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env=environment(DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT="1s"),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []
