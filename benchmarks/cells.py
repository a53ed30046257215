"""What the process of one contender does in the suite: get ready for a network and a batch, and time the call."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.contenders import CONTENDERS
from benchmarks.networks import NETWORKS, Cell
from benchmarks.processes import hold_to_one_thread
from benchmarks.runner import calls_in_a_turn, timed

__all__ = ["functions"]

TURN = 0.015
"""Seconds that a turn lasts at least."""


def functions(contender: str, threads: str) -> dict[str, Callable[..., Any]]:
    """The calls that the suite makes, for `Worker`."""
    if threads == "one":
        hold_to_one_thread(CONTENDERS[contender].needs)
    made: dict[str, Callable[[], Any]] = {}

    def prepare(network: str, batch: int) -> dict[str, float]:
        """Build the call, check its answer, and see how often to make it and how long one takes."""
        made.clear()
        cell = Cell(NETWORKS[network], batch, threads)
        call = CONTENDERS[contender].natural(cell)
        came = np.asarray(call())
        if not CONTENDERS[contender].is_limit:
            cell.check(came)
        made["call"] = call
        start = perf_counter()
        call()
        return {"seconds": perf_counter() - start, "calls": calls_in_a_turn(call, TURN)}

    return {"prepare": prepare, "time": lambda calls: timed(made["call"], calls)}
