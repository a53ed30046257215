"""How long a call takes, and how much memory the process has needed."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

__all__ = ["Timing", "measure", "peak_memory"]

MOST = 1000


@dataclass(frozen=True)
class Timing:
    """The seconds that calls took.

    Attributes
    ----------
    p10, median, p90 : float
        One call of ten took at most `p10` seconds, half of them at most `median`, nine of ten at most `p90`.
    iterations : int
        Calls that were timed.
    """

    p10: float
    median: float
    p90: float
    iterations: int


def measure(
    call: Callable[[], object],
    *,
    warm_up: int = 3,
    iterations: int | None = None,
    budget: float = 0.3,
    clock: Callable[[], float] = perf_counter,
) -> Timing:
    """Time a call again and again.

    Parameters
    ----------
    call : callable
        It must come back only when its work is done: on a device that works by itself, it synchronises.
    warm_up : int
        Calls before the clock counts.
    iterations : int, optional
        Calls to time; by default as many as `budget` allows, at least one and at most 1000.
    budget : float
        Seconds for the warm-up, and again for the timed calls; without effect if `iterations` is given.
    clock : callable
        Seconds since some moment.

    Returns
    -------
    Timing

    Examples
    --------
    >>> from portable_nn.comparison.timing import measure
    >>> measure(lambda: sum(range(1000)), iterations=10).iterations
    10
    """
    seconds = budget if iterations is None else float("inf")
    for _ in _rounds(warm_up, seconds, clock):
        call()
    samples = []
    for start in _rounds(iterations or MOST, seconds, clock):
        call()
        samples.append(clock() - start)
    p10, median, p90 = np.percentile(samples, [10, 50, 90]).tolist()
    return Timing(p10, median, p90, len(samples))


def _rounds(most: int, seconds: float, clock: Callable[[], float]) -> Iterator[float]:
    """The time at which each round starts: `most` rounds, fewer once the seconds are spent, but one."""
    first = now = clock()
    for done in range(most):
        if done and now - first >= seconds:
            return
        yield now
        now = clock()


def peak_memory() -> int | None:
    """The most memory that this process has held at once.

    Returns
    -------
    int or None
        Bytes; None where the system does not tell.

    Examples
    --------
    >>> from portable_nn.comparison.timing import peak_memory
    >>> peak_memory() > 10_000_000
    True
    """
    status = Path("/proc/self/status")
    if not status.exists():  # pragma: no cover: Linux alone has it
        if sys.platform == "win32":
            return None
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    # getrusage would count what the parent held before this program replaced it
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024
