"""What Dask costs: tasks and time of a lazy call, processor time and memory of a cluster on this machine."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import portable_nn as pnn
from benchmarks.labelling import write_images
from benchmarks.memory import AnonymousMemory
from benchmarks.processes import ROOT, unforced
from benchmarks.ratios import Figure, spread
from portable_nn.clients import LOCAL_WORKERS
from portable_nn.cluster import compute

__all__ = ["FULL", "QUICK", "Extent", "figures", "measure", "stop"]

MIB = 2**20
METHODS = ("__call__", "predict", "logits")
NANNY = {"MALLOC_TRIM_THRESHOLD_": "65536"} | {
    name: str(value) for name, value in LOCAL_WORKERS.items() if "MALLOC" not in name
}
"""The environment of the workers of someone else's cluster."""


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes
    ----------
    chunks : int
        Of a lazy array.
    images, block : int
        Of a file that is labelled, and of a block of it.
    few, many : int
        Empty blocks that go through the window.
    rounds : int
    """

    chunks: int
    images: int
    block: int
    few: int
    many: int
    rounds: int


FULL = Extent(chunks=10_000, images=2_000_000, block=100_000, few=10**3, many=10**5, rounds=3)
QUICK = Extent(chunks=100, images=20_000, block=5_000, few=10, many=100, rounds=1)

Tell = Callable[[str], object]


def measure(extent: Extent, tell: Tell = lambda _: None) -> dict[str, Any]:
    """All of it, as JSON has it."""
    tell("lazy arrays")
    found: dict[str, Any] = {"extent": vars(extent).copy(), "lazy": lazy(extent)}
    with TemporaryDirectory() as folder:
        source = Path(folder, "images.npy")
        tell(f"write {extent.images:,} images")
        write_images(source, extent.images)
        here = {name: str(value) for name, value in LOCAL_WORKERS.items()}
        for name, environment in ("here", here), ("nanny", NANNY):
            tell(f"processor time, {name}")
            found[name] = processor_time(extent, source, environment)
        tell("two workers against one")
        found["wall"] = wall_time(extent, source, here)
        tell(f"{extent.many:,} empty blocks")
        found["window"] = window(extent)
    return found


def lazy(extent: Extent) -> dict[str, Any]:
    """Tasks a block, and seconds of a processor to build and to optimise a graph."""
    import dask.array

    net = pnn.load("mnist")
    x = dask.array.zeros((extent.chunks * 10, 784), chunks=(10, 784), dtype="uint8")
    own = len(dict(x.__dask_graph__()))
    tasks = {
        method: (len(dict(getattr(net, method)(x).__dask_graph__())) - own - 1) / extent.chunks
        for method in METHODS
    }
    found: dict[str, list[float]] = {"building": [], "optimising": [], "idle": []}
    for _ in range(extent.rounds + 1):
        taken = []
        for method in METHODS:
            start = process_time()
            lazily = getattr(net, method)(x)
            built = process_time()
            dask.optimize(lazily)
            taken.append((built - start, process_time() - built))
        found["building"].append(max(building for building, _ in taken))
        found["optimising"].append(max(optimising for _, optimising in taken))
        idle = x.map_blocks(unchanged, dtype=x.dtype, meta=x._meta)
        start = process_time()
        dask.optimize(idle)
        found["idle"].append(process_time() - start)
    return {"tasks": tasks} | {name: seconds[1:] for name, seconds in found.items()}


def unchanged(block: Any) -> Any:
    """What a task does that does nothing."""
    return block


@contextmanager
def cluster(environment: dict[str, str], workers: int = 1) -> Iterator[tuple[Any, list[int]]]:
    """A client of a scheduler and workers of one thread, in processes of their own, and the ids of those."""
    import distributed

    with TemporaryDirectory() as folder:
        file = Path(folder, "scheduler.json")
        dask = [sys.executable, "-m", "dask"]
        rest = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
        commands = [[*dask, "scheduler", "--port", "0", *rest]]
        commands += [[*dask, "worker", "--nthreads", "1", "--no-nanny", *rest]] * workers
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        processes: list[subprocess.Popen[bytes]] = []
        try:
            processes.extend(
                subprocess.Popen(
                    command, cwd=folder, env=unforced(PYTHONPATH=path, **environment),
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )
                for command in commands
            )  # fmt: skip
            with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
                client.wait_for_workers(workers)
                yield client, [process.pid for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()


def stop(number: int, _: object) -> None:
    """End this process, and its children first: a client of Dask may take a minute over it."""
    import psutil

    for process in psutil.Process().children():
        process.kill()
    sys.exit(128 + number)


def processor_time(extent: Extent, source: Path, environment: dict[str, str]) -> dict[str, list[float]]:
    """Seconds of processors for labels, plain with one worker, and on a cluster of one by all its processes."""
    net = pnn.load("mnist")
    found: dict[str, list[float]] = {"plain": [], "cluster": []}
    with cluster(environment) as (client, pids):
        for i in range(extent.rounds + 1):  # the first warms up
            start = seconds_of(os.getpid())
            plain = pnn.infer(net, source, workers=1)
            middle = seconds_of(os.getpid()), sum(map(seconds_of, pids))
            labels = pnn.infer(
                net, source, client=client, out=source.with_name("y.zarr"), block=extent.block, overwrite=True
            )
            end = seconds_of(os.getpid()), sum(map(seconds_of, pids))
            assert (labels[:] == plain).all()
            if i:
                found["plain"].append(middle[0] - start)
                found["cluster"].append(sum(end) - sum(middle))
    found["bytes"] = [sum(file.stat().st_size for file in source.with_name("y.zarr").iterdir()) / extent.images]
    return found


def seconds_of(pid: int) -> float:
    """What a process has had of the processors."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def wall_time(extent: Extent, source: Path, environment: dict[str, str]) -> list[list[float]]:
    """Seconds until labels are there, of one worker and of two, in turns."""
    net, out = pnn.load("mnist"), source.with_name("y.zarr")

    def seconds(client: Any) -> float:
        start = perf_counter()
        pnn.infer(net, source, client=client, out=out, block=extent.block, overwrite=True)
        return perf_counter() - start

    with cluster(environment) as (one, _), cluster(environment, workers=2) as (two, _):
        return [[seconds(one), seconds(two)] for _ in range(extent.rounds + 1)][1:]  # the first warms up


def window(extent: Extent) -> dict[str, Any]:
    """Milliseconds a block, and bytes that client and scheduler grow by from few blocks to many."""
    with cluster({}) as (client, (scheduler, worker)):
        processes = {"client": os.getpid(), "scheduler": scheduler, "worker": worker}
        for blocks in extent.few, extent.many:
            with AnonymousMemory(os.getpid()) as here, AnonymousMemory(scheduler) as there:
                busy, start = {name: seconds_of(pid) for name, pid in processes.items()}, perf_counter()
                compute(client, nothing, range(blocks), check=no_check, progress=nothing)
                seconds = perf_counter() - start
                busy = {name: seconds_of(pid) - busy[name] for name, pid in processes.items()}
            if blocks == extent.few:
                before = (here.peak or 0) + (there.peak or 0)
        return {
            "memory": (here.peak or 0) + (there.peak or 0) - before,
            "milliseconds": seconds / blocks * 1e3,
            "busy": {name: each / blocks * 1e3 for name, each in busy.items()},
        }


def nothing(i: int) -> None:
    """An empty block."""


def no_check() -> None:
    """Any worker can do nothing."""


def figures(found: dict[str, Any]) -> list[Figure]:
    """The figures, those with a goal held against it."""
    extent = found["extent"]
    images, block, chunks = (f"{extent[name]:,}" for name in ("images", "block", "chunks"))
    of_two = [two / one for one, two in found["wall"]]
    lazy = found["lazy"]
    of_idle = [ours / idle for ours, idle in zip(lazy["optimising"], lazy["idle"], strict=True)]
    labelled = f"{images} images on a worker, blocks of {block}: processor time / plain"
    return [
        spread("tasks a block of net(x), predict and logits on Dask", [max(lazy["tasks"].values())], 1),
        spread(f"building a graph of {chunks} chunks, the slowest of the three", lazy["building"], 0.1, "s"),
        spread("optimising it, with an array of as many tasks", lazy["optimising"], 0.5, "s"),
        spread("the same / of a map_blocks that does nothing", of_idle),
        spread(labelled, ratios(found["here"]), 1.25),
        spread(f"{labelled}, with Dask's own environment", ratios(found["nanny"])),
        spread("two workers / one, wall", of_two, 0.6),
        spread(
            f"memory of client and scheduler, {extent['many']:,} blocks over {extent['few']:,}",
            [found["window"]["memory"] / MIB], 64, "MiB",
        ),
        spread("an empty block through the window", [found["window"]["milliseconds"]], unit="ms"),
        *(
            spread(f"processor time of the {name} for it", [milliseconds], unit="ms")
            for name, milliseconds in found["window"]["busy"].items()
        ),
        spread(f"plain labels of {images} images, processor time", found["here"]["plain"], unit="s"),
        spread("a label in zarr", found["here"]["bytes"], unit="bytes"),
    ]  # fmt: skip


def ratios(found: dict[str, list[float]]) -> list[float]:
    """Of the cluster over plain, round by round."""
    return [ours / plain for ours, plain in zip(found["cluster"], found["plain"], strict=True)]
