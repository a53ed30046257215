"""The suite: the natural call of every contender, for many networks and batches, interleaved in rounds.

Each contender has a process that stays alive for the networks of one dtype. For a network and a batch all get
ready, check their answers, and then take turns, one at a time, in an order that turns by one place each round.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import groupby
from typing import Any, TypeAlias

from benchmarks.contenders import CONTENDERS
from benchmarks.networks import NETWORKS
from benchmarks.processes import Worker, excused
from benchmarks.racing import Effort, worker

__all__ = ["Suite", "extended", "race"]

Suite: TypeAlias = dict[str, dict[str, dict[str, Any]]]
"""The record of each contender, by network and batch as `named` has them."""


FEWEST, SECONDS = 5, 8
"""To how few rounds a network and a batch are cut, and what their calls may take before they are."""

Tell: TypeAlias = Callable[[str], object]

BOUND = {"OMP_PROC_BIND": "true"}
"""Each thread of OpenMP, which PyTorch has, on a core of its own: in a virtual machine Linux may keep two on one
core for a whole race, and each then waits in a loop for the other."""


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
    bound = BOUND if threads == "all" else {}
    by_dtype = sorted(networks, key=lambda network: NETWORKS[network].dtype)
    for dtype, of_dtype in groupby(by_dtype, key=lambda network: NETWORKS[network].dtype):
        environment = bound | ({"JAX_ENABLE_X64": "1"} if dtype == "float64" else {})
        with ExitStack() as stack:
            workers = {
                name: stack.enter_context(worker("benchmarks.cells", name, threads, **environment))
                for name in names
            }
            started = {name: excused(workers[name].ready, CONTENDERS[name].needs) for name in names}
            for network in of_dtype:
                for batch in batches:
                    tell(f"{network}, {batch:,} samples, threads: {threads}")
                    raced = _raced(workers, started, network, batch, effort)
                    found.setdefault(network, {})[str(batch)] = raced
    return found


def extended(found: Suite, again: Suite) -> None:
    """Add the rounds of networks and batches that were raced again."""
    for network, batches in again.items():
        for batch, entries in batches.items():
            for name, entry in entries.items():
                if entry["state"] == found[network][batch][name]["state"] == "ready":
                    for what in "seconds", "cores":
                        found[network][batch][name][what] += entry[what]


def _raced(
    workers: dict[str, Worker], started: dict[str, dict[str, Any]], network: str, batch: int, effort: Effort
) -> dict[str, dict[str, Any]]:
    """The record of each contender for one network and batch."""
    entries: dict[str, dict[str, Any]] = {}
    calls: dict[str, int] = {}
    seconds_of_a_round = 0.0
    for name, process in workers.items():
        entries[name] = started[name]
        if started[name]["state"] == "ready":
            prepare = partial(process.call, "prepare", network=network, batch=batch)
            entries[name] = prepared = excused(prepare, CONTENDERS[name].needs)
            if prepared["state"] == "ready":
                calls[name] = prepared["result"]["calls"]
                seconds_of_a_round += prepared["result"]["seconds"]
                entries[name] = {"state": "ready", "seconds": [], "cores": []}
    running = [*calls]
    affordable = max(FEWEST, int(SECONDS / max(seconds_of_a_round, 1e-9)))
    for i in range(min(effort.rounds, affordable)):
        turn = i % max(len(running), 1)
        for name in running[turn:] + running[:turn]:
            took = workers[name].call("time", calls=calls[name])
            entries[name]["seconds"].append(took["seconds"])
            entries[name]["cores"].append(took["cores"])
    return entries
