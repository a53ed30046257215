"""What both races share: how much is measured, and a process for each contender."""

from dataclasses import dataclass

from benchmarks.contenders import CONTENDERS
from benchmarks.processes import ONE_THREAD, Worker

__all__ = ["FULL", "QUICK", "Effort", "worker"]


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes
    ----------
    rounds : int
        In each of which every contender is timed once.
    fixed_size : int or None
        The batch size of all who can choose, None to find each one's best.
    turn : float
        Seconds that a turn of a peer lasts at least, so that a call of microseconds is made many times.
    warm_up : float
        Seconds of calls before. For tens of milliseconds after another process kept all cores busy, as the turn
        before does, Linux may wake a thread on the core of its caller, though others idle.
    """

    rounds: int
    fixed_size: int | None = None
    turn: float = 0.06
    warm_up: float = 0.1


FULL = Effort(rounds=7)
QUICK = Effort(rounds=2, fixed_size=1000, turn=0.005, warm_up=0)


def worker(module: str, name: str, threads: str, **environment: str) -> Worker:
    """The process of a contender, running a module of this package, held to one thread or not."""
    variables = dict(CONTENDERS[name].environment) | environment | (ONE_THREAD if threads == "one" else {})
    return Worker(module, variables, contender=name, threads=threads)
