"""Blocks of work on a Dask cluster: asked first whether it can, then kept busy, and watched.

The engine is `distributed`: it finds workers, moves tasks, and runs them again where a worker was lost. Here is
what it does not do: blocks go to it through a window, so that neither it nor the client holds more than is under
way, and whatever is lost ends in one clear error instead of a wait without end.
"""

import os
import pkgutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from math import prod
from operator import itemgetter
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from portable_nn import backends
from portable_nn._arrays import each
from portable_nn.blank import warn_of_blank
from portable_nn.blocks import ZarrWriter, check_folder, open_result, write_block
from portable_nn.errors import ClusterError, PortableNNError
from portable_nn.meaning import check_values
from portable_nn.network import Network
from portable_nn.parts import named
from portable_nn.running import VERSION, identity, nothing, runner
from portable_nn.sources import Source
from portable_nn.streams import number_of_samples
from portable_nn.threads import ONE_THREAD

__all__ = ["compute", "infer_there"]

WINDOW, SHARE = 64, 4
"""Blocks under way: so many, or so many for each thread of the workers. With fewer, an adaptive cluster does not
grow."""

TICK = 1
"""Seconds between two looks at whether the cluster is still there."""

FEW = 2**20
"""Values that are looked at here, before there are workers, for whether they can be what the network takes."""


def compute(
    client: Any,
    work: Callable[[int], object],
    todo: Iterable[int],
    *,
    check: Callable[[], object],
    progress: Callable[[int], object],
) -> None:
    """Have every block of a work computed.

    Parameters
    ----------
    client : distributed.Client
    work : callable
        Computes the block of a number, and keeps its result itself. It is one key on the cluster: each worker
        gets it once, again if it was lost.
    todo : iterable of int
        The blocks.
    check : callable
        Raises an error on a worker that could not do the work.
    progress : callable
        Called with the number of a block that is done.

    Raises
    ------
    ClusterError
        If there are no workers, one lacks what it needs, or the cluster is lost. What is done is done.
    """
    try:
        _ask(client, check)
        _run(client, work, iter(todo), progress)
    except PortableNNError:
        raise
    except Exception as error:  # versions of Dask differ in what they raise then
        if client.status == "running" and type(error).__name__ != "CommClosedError":
            raise
        raise _lost(client) from error


def _patience() -> float:
    """Seconds to wait for what may come, by Dask's own setting."""
    import dask

    return float(dask.utils.parse_timedelta(dask.config.get("distributed.comm.timeouts.connect", "30s")))


def _ask(client: Any, check: Callable[[], object]) -> None:
    """Whether every worker, and the scheduler, can do the work, by a function that needs nothing there first."""
    _wait_for_workers(client)
    here = pkgutil.resolve_name(VERSION)
    answers = client.run(pkgutil.resolve_name, VERSION, on_error="return")
    try:
        answers["the scheduler"] = client.run_on_scheduler(pkgutil.resolve_name, VERSION)
    except ImportError as error:
        answers["the scheduler"] = error
    for where, answer in answers.items():
        if isinstance(answer, Exception):
            raise ClusterError(f"{where} has no portable_nn that can be imported ({answer}): install it there")
        if answer != here:
            raise ClusterError(f"{where} has portable_nn {answer}, and here is {here}: install one version")
    for worker, answer in client.run(check, on_error="return").items():
        if isinstance(answer, Exception):
            raise ClusterError(f"worker {worker} cannot do the work: {answer}")


def _wait_for_workers(client: Any) -> None:
    seconds = _patience()
    try:
        client.wait_for_workers(1, timeout=seconds)
    except TimeoutError:
        raise ClusterError(
            f"the scheduler at {_address(client)} has had no workers for {seconds:g} s: start some, and try again"
        ) from None


def _run(
    client: Any, work: Callable[[int], object], todo: Iterator[int], progress: Callable[[int], object]
) -> None:
    import dask

    key = client.compute(dask.delayed(work, traverse=False, pure=False))
    pending: dict[Any, int] = {}
    ended: SimpleQueue[Any] = SimpleQueue()
    window, looked = WINDOW, float("-inf")
    try:
        while True:
            if time.monotonic() - looked > TICK:
                window, looked = max(WINDOW, SHARE * _threads(client)), time.monotonic()
            if len(pending) <= window * 3 // 4:
                new = list(islice(todo, window - len(pending)))
                futures = client.map(_call, [key] * len(new), new, pure=False)
                pending |= zip(futures, new, strict=True)
                for future in futures:
                    future.add_done_callback(ended.put)
            if not pending:
                return
            told = _done(client, ended) or [future for future in pending if future.done()]
            for future in filter(pending.__contains__, dict.fromkeys(told)):  # some were found before
                if future.status == "lost":  # its worker was, after the block was done: it is computed again
                    future.add_done_callback(ended.put)
                    continue
                _check(client, future, pending[future])
                progress(pending.pop(future))
    finally:
        if client.status == "running":
            with suppress(OSError):
                client.cancel([key, *pending])


def _call(work: Callable[[int], object], i: int) -> None:
    work(i)


def _threads(client: Any) -> int:
    """The threads of all workers; where there are none, they are waited for."""
    found = sum(client.nthreads().values())
    if not found:
        _wait_for_workers(client)
    return found or WINDOW


def _done(client: Any, ended: SimpleQueue[Any]) -> list[Any]:
    """Those that are told to have ended, after a tick at most; none where the client has no thread to tell it."""
    if client.status != "running":
        raise _lost(client)
    with suppress(Empty):
        return [ended.get(timeout=TICK), *(ended.get() for _ in range(ended.qsize()))]
    return []


def _check(client: Any, future: Any, i: int) -> None:
    """Raise what went wrong with a block."""
    if future.status == "finished":
        return
    if future.status != "error":
        raise _lost(client)
    error = future.exception()
    if type(error).__name__ == "KilledWorker":
        raise ClusterError(
            f"block {i} has killed the {error.allowed_failures + 1} workers that computed it, for want of memory "
            "perhaps: make blocks smaller, or give workers more; what is done is kept"
        ) from error
    if isinstance(error, (PortableNNError, OSError, MemoryError)):
        raise error
    raise ClusterError(f"block {i} failed on a worker: {type(error).__name__}: {error}") from error


def _lost(client: Any) -> ClusterError:
    return ClusterError(
        f"the scheduler at {_address(client)} was lost, or dropped the work; what is done is kept: begin the "
        "same again to go on with it"
    )


def _address(client: Any) -> str:
    return str(getattr(client.scheduler, "address", "its address"))


def infer_there(
    client: Any,
    net: Network,
    source: Source | dict[str, Source],
    target: str,
    outputs: bool,
    out: str | os.PathLike[str],
    block: int,
    overwrite: bool,
    progress: Callable[[int], object] | None,
) -> Any:
    """What `portable_nn.infer` does with a client and files that it has checked."""
    total = number_of_samples(source)
    few = max(1, FEW // max(1, *(prod(one.sample) for one in named(source).values())))
    for array in net.passes.floats(each(itemgetter(slice(few)), source)):
        check_values(array, net.meaning, net.layers, backends.get("numpy"), blank=outputs)
    same, names = identity(net, source, target, outputs, (block,)), net.passes.outputs
    with ZarrWriter(
        os.path.abspath(out), same, names=names, size=block, total=total, overwrite=overwrite
    ) as writer:
        if not total:
            writer.append(nothing(net, outputs))
        work = _Work(
            net, source, target, outputs, str(writer.partial), writer.places, block, pkgutil.resolve_name(VERSION)
        )
        there = writer.blocks()
        todo = [i for i in range(-(-total // block)) if i not in there]
        done = sum(map(work.length, there))

        def count(i: int) -> None:
            nonlocal done
            done += work.length(i)
            if progress is not None:
                progress(done)

        if done and progress is not None:
            progress(done)
        if todo:
            check = partial(_check_worker, source, target, work.folder, same)
            compute(client, work, todo, check=check, progress=count)
            if not outputs:
                warn_of_blank(sum(dict(message for _, message in client.get_events(work.folder)).values()))
        for one in named(source).values():
            one.check()
    return open_result(out, names)


@dataclass(frozen=True)
class _Work:
    """Results of any block of files, into their place in a zarr array."""

    net: Network
    source: Source | dict[str, Source]
    target: str
    outputs: bool
    folder: str
    places: dict[str, Path]
    size: int
    version: str

    @property
    def total(self) -> int:
        """The samples of all."""
        return number_of_samples(self.source)

    def length(self, i: int) -> int:
        """The samples of a block."""
        return min(self.size, self.total - i * self.size)

    def __call__(self, i: int) -> None:
        """Compute a block, and write it."""
        here = pkgutil.resolve_name(VERSION)
        if here != self.version:  # pragma: no cover: on a worker that comes later, which tests kill
            raise ClusterError(f"a worker has portable_nn {here}, the client {self.version}: install one version")
        target = backends.get(self.target)
        net = self.net if self.net.backend == target else self.net.to_numpy()
        block = each(itemgetter(slice(i * self.size, (i + 1) * self.size)), self.source)
        with ONE_THREAD:
            found = runner(net, target, self.outputs)(block)
        write_block(self.places, i, found, size=self.size, total=self.total)
        if not self.outputs and (samples := self.net.passes.blank(block)):
            import distributed

            distributed.get_worker().log_event(self.folder, (i, samples))  # again where it is computed again


def _check_worker(source: Source | dict[str, Source], target: str, folder: str, identity: str) -> None:
    """Whether this process sees the files, and the folder of the results, and has the backend."""
    for one in named(source).values():
        one.check()
    check_folder(folder, identity)
    backends.get(target)
