"""The suite: the natural call of every contender, for many networks and batches, interleaved in rounds.

Each contender has a process that stays alive for the networks of one dtype. For a network and a batch all get
ready, check their answers, and then take turns, one at a time, in an order that turns by one place each round.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, TypeAlias

from benchmarks.contenders import CONTENDERS
from benchmarks.networks import NETWORKS
from benchmarks.processes import ONE_THREAD, Worker, excused

__all__ = ["FULL", "QUICK", "Effort", "Suite", "race"]

Suite: TypeAlias = dict[str, dict[str, dict[str, Any]]]
"""The record of each contender, by network and batch as `named` has them."""


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes
    ----------
    rounds, fewest : int
        Rounds of each network and batch, and to how few they are cut where one takes long.
    seconds : float
        What the rounds of one network and batch may take before they are cut.
    """

    rounds: int
    fewest: int
    seconds: float


FULL = Effort(rounds=9, fewest=3, seconds=8)
QUICK = Effort(rounds=2, fewest=1, seconds=1)

Tell: TypeAlias = Callable[[str], object]


def race(
    names: Sequence[str],
    networks: Iterable[str],
    batches: Sequence[int],
    threads: str,
    effort: Effort,
    tell: Tell = lambda _: None,
) -> Suite:
    """Times of contenders.

    Parameters
    ----------
    names : sequence of str
        From `CONTENDERS`.
    networks : iterable of str
        From `NETWORKS`.
    batches : sequence of int
    threads : {"one", "all"}
    effort : Effort
    tell : callable
        Called with what is going on.

    Returns
    -------
    dict
        For each network, batch and name the seconds of each round and how many cores it kept busy, or what went
        wrong.
    """
    found: Suite = {}
    by_dtype = sorted(networks, key=lambda network: NETWORKS[network].dtype)
    for dtype, of_dtype in groupby(by_dtype, key=lambda network: NETWORKS[network].dtype):
        with ExitStack() as stack:
            workers = {name: stack.enter_context(_worker(name, threads, dtype)) for name in names}
            started = {name: excused(worker.ready, CONTENDERS[name].needs) for name, worker in workers.items()}
            for network in of_dtype:
                for batch in batches:
                    tell(f"{network}, {batch:,} samples, threads: {threads}")
                    raced = _raced(workers, started, network, batch, effort)
                    found.setdefault(network, {})[str(batch)] = raced
    return found


def _worker(name: str, threads: str, dtype: str) -> Worker:
    environment = {"JAX_ENABLE_X64": "1"} if dtype == "float64" else {}
    environment |= ONE_THREAD if threads == "one" else {}
    return Worker("benchmarks.cells", environment, contender=name, threads=threads)


def _raced(
    workers: dict[str, Worker], started: dict[str, dict[str, Any]], network: str, batch: int, effort: Effort
) -> dict[str, dict[str, Any]]:
    """The record of each contender for one network and batch."""
    entries: dict[str, dict[str, Any]] = {}
    calls: dict[str, int] = {}
    seconds_of_a_round = 0.0
    for name, worker in workers.items():
        entries[name] = started[name]
        if started[name]["state"] == "ready":
            prepare = partial(worker.call, "prepare", network=network, batch=batch)
            entries[name] = prepared = excused(prepare, CONTENDERS[name].needs)
            if prepared["state"] == "ready":
                calls[name] = prepared["result"]["calls"]
                seconds_of_a_round += prepared["result"]["seconds"]
                entries[name] = {"state": "ready", "seconds": [], "cores": []}
    running = [*calls]
    for i in range(max(effort.fewest, min(effort.rounds, int(effort.seconds / max(seconds_of_a_round, 1e-9))))):
        turn = i % max(len(running), 1)
        for name in running[turn:] + running[:turn]:
            took = workers[name].call("time", calls=calls[name])
            entries[name]["seconds"].append(took["seconds"])
            entries[name]["cores"].append(took["cores"])
    return entries
