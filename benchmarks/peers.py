"""The race: every contender in a process of its own, interleaved in rounds, held to one thread and with all.

Only one process computes at a time. Each round takes one workload after the other, and all contenders in turn,
in an order that turns by one place, so that the machine's noise hits all alike. Ratios are taken within a round.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.contenders import CONTENDERS, MANY, WORKLOADS
from benchmarks.processes import Worker, excused
from benchmarks.racing import Effort, worker

__all__ = ["race"]


@dataclass
class Entry:
    """A contender at the start, or the reason why it is not there."""

    name: str
    worker: Worker
    sizes: dict[str, int] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    cores: dict[str, list[float]] = field(default_factory=dict)
    problem: dict[str, str] = field(default_factory=dict)

    def attempt(self, function: Callable[[], Any]) -> None:
        """Call it, and note what goes wrong: the race goes on without this contender."""
        came = excused(function, CONTENDERS[self.name].needs)
        self.problem = {} if came["state"] == "ready" else came

    def record(self) -> dict[str, Any]:
        """What is to be kept, as JSON has it."""
        if self.problem:
            return self.problem
        return {"state": "ready", "batch_sizes": self.sizes, "seconds": self.seconds, "cores": self.cores}


def race(
    names: Iterable[str], threads: str, effort: Effort, tell: Callable[[str], object] = lambda _: None
) -> dict[str, dict[str, Any]]:
    """Times of contenders.

    Parameters
    ----------
    names : iterable of str
        From `CONTENDERS`.
    threads : {"one", "all"}
    effort : Effort
    tell : callable
        Called with what is going on.

    Returns
    -------
    dict
        For each name its state, and where it is ready: the batch sizes chosen, the seconds of each workload in
        each round, and how many cores it kept busy.
    """
    names = list(names)
    sizes = {} if effort.fixed_size else _best_sizes(names, threads, tell)
    with ExitStack() as stack:
        tell("start")
        entries = [Entry(name, stack.enter_context(worker("benchmarks.runner", name, threads))) for name in names]
        for entry in entries:
            tell(f"check {CONTENDERS[entry.name].title}")
            entry.attempt(partial(_prepare, entry, sizes.get(entry.name, {}), effort))
        running = [entry for entry in entries if not entry.problem]
        for i in range(effort.rounds if running else 0):
            tell(f"round {i + 1} of {effort.rounds}")
            turn = i % len(running)
            for workload in WORKLOADS:
                for entry in running[turn:] + running[:turn]:
                    if workload in entry.sizes:
                        _take_turn(entry, workload, effort.warm_up)
    return {entry.name: entry.record() for entry in entries}


def _best_sizes(names: list[str], threads: str, tell: Callable[[str], object]) -> dict[str, dict[str, int]]:
    """The best batch sizes of each contender, found in processes of their own.

    A compiler that has seen several sizes makes slower programs for any size from then on.
    """
    found = {}
    for name in names:
        tell(f"batch size of {CONTENDERS[name].title}")
        with worker("benchmarks.runner", name, threads) as process:
            sizes = excused(partial(_best_sizes_of, process), CONTENDERS[name].needs)
            found[name] = sizes.get("result", {})
    return found


def _best_sizes_of(process: Worker) -> dict[str, int]:
    process.ready()
    workloads = [workload for workload in process.call("workloads") if workload in MANY]
    return {workload: process.call("best_size", workload=workload) for workload in workloads}


def _prepare(entry: Entry, sizes: dict[str, int], effort: Effort) -> None:
    """Choose batch sizes, check every answer, and see how often to call."""
    entry.worker.ready()
    choices = CONTENDERS[entry.name].batch_sizes
    for workload in entry.worker.call("workloads"):
        fixed = effort.fixed_size if effort.fixed_size in choices else choices[0]
        size = sizes.get(workload, fixed) if workload in MANY else 1
        entry.worker.call("check", workload=workload, size=size)
        entry.sizes[workload] = size
        entry.calls[workload] = entry.worker.call("calls", workload=workload, size=size, turn=effort.turn)
        entry.seconds[workload], entry.cores[workload] = [], []


def _take_turn(entry: Entry, workload: str, warm_up: float) -> None:
    size, calls = entry.sizes[workload], entry.calls[workload]
    took = entry.worker.call("time", workload=workload, size=size, calls=calls, warm_up=warm_up)
    entry.seconds[workload].append(took["seconds"])
    entry.cores[workload].append(took["cores"])
