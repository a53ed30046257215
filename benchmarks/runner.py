"""What the process of one contender does: check its answers, find its best batch size, time it."""

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter, process_time, sleep
from typing import Any

import numpy as np

from benchmarks.contenders import CONTENDERS, MANY
from benchmarks.given import TOLERANCE, answers
from benchmarks.processes import hold_to_one_thread

__all__ = ["calls_in_a_turn", "functions", "timed"]

REST = 0.2
"""Share of a core that a process at rest may still take."""

CALIBRATION_ROUNDS = 11


def functions(contender: str, threads: str) -> dict[str, Callable[..., Any]]:
    """The calls that a race makes, for `Worker`."""
    if threads == "one":
        hold_to_one_thread(CONTENDERS[contender].needs)
    tasks = CONTENDERS[contender].tasks(threads)
    task = partial(_task, tasks)
    return {
        "workloads": lambda: list(tasks),
        "check": lambda workload, size: check(workload, task(workload, size)(), CONTENDERS[contender].is_limit),
        "best_size": lambda workload: best_size(partial(task, workload), CONTENDERS[contender].batch_sizes),
        "calls": lambda workload, size, turn: calls_in_a_turn(task(workload, size), turn),
        "time": lambda workload, size, calls, warm_up: timed(task(workload, size), calls, warm_up),
    }


def _task(tasks: dict[str, Callable[..., Any]], workload: str, size: int) -> Callable[[], Any]:
    return partial(tasks[workload], size) if workload in MANY else tasks[workload]


def check(workload: str, came: Any, is_limit: bool) -> None:
    """Raise an error if an answer is not the right one."""
    if is_limit:
        return
    given = answers()
    if workload == "probabilities":
        difference = np.abs(np.asarray(came) - given.probabilities[0]).max()
        if not difference <= TOLERANCE:
            raise ValueError(f"probabilities differ by {difference:.1e}")
        return
    wrong = np.sum(np.asarray(came) != (given.labels if workload in MANY else given.labels[0]))
    if wrong:
        raise ValueError(f"{wrong} labels differ from those in float64")


def best_size(task: Callable[[int], Callable[[], Any]], sizes: tuple[int, ...]) -> int:
    """The batch size at which a task is fastest."""
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(CALIBRATION_ROUNDS):
        for size, taken in seconds.items():
            task(size)()
            taken.append(seconds_of(task(size), 2))
    return min(sizes, key=lambda size: median(seconds[size]))


def calls_in_a_turn(task: Callable[[], Any], turn: float) -> int:
    """How often a task runs in a turn of so many seconds."""
    once = seconds_of(task, 1)
    if once < turn:
        once = min(seconds_of(task, 1) for _ in range(5))
    return max(1, round(turn / once))


def timed(task: Callable[[], Any], calls: int, warm_up: float) -> dict[str, float]:
    """Seconds of a call, after `warm_up` seconds of calls, one at least, and how many cores it keeps busy."""
    start = perf_counter()
    while perf_counter() - start < warm_up:
        task()
    cpu = process_time()
    seconds = seconds_of(task, calls)
    cores = (process_time() - cpu) / (seconds * calls)
    _come_to_rest()
    return {"seconds": seconds, "cores": cores}


def _come_to_rest() -> None:
    """Wait until no thread here computes: OpenBLAS's idle ones spin on, on a core that the next turn may need."""
    busy = 1.0
    while busy > REST:
        cpu, wall = process_time(), perf_counter()
        sleep(0.01)
        busy = (process_time() - cpu) / (perf_counter() - wall)


def seconds_of(task: Callable[[], Any], calls: int) -> float:
    """Seconds of one of several calls in a row."""
    start = perf_counter()
    for _ in range(calls):
        task()
    return (perf_counter() - start) / calls
