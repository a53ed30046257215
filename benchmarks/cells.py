"""What the process of one contender does in the suite: get ready for a network and a batch, and time the call."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.contenders import CONTENDERS
from benchmarks.networks import NETWORKS, Cell
from benchmarks.oracle import in_float64
from benchmarks.processes import hold_to_one_thread
from benchmarks.runner import calls_in_a_turn, timed

__all__ = ["check", "functions"]

TURN = 0.015
"""Seconds that a turn lasts at least, and the calls before it that warm up."""

CHECKED = 100
"""Rows of an answer that are held against float64: the first, the last, and some between."""

TOLERANCE = {"float32": 1e-4, "float64": 1e-11}
"""How far an output may be from float64's, in units of 1 + its size."""


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
            check(cell, came)
        made["call"] = call
        start = perf_counter()
        call()
        return {"seconds": perf_counter() - start, "calls": calls_in_a_turn(call, TURN)}

    return {"prepare": prepare, "time": lambda calls: timed(made["call"], calls, TURN)}


def check(cell: Cell, came: np.ndarray) -> None:
    """Raise a ValueError if an answer is not the right one."""
    rows = np.unique(np.linspace(0, len(cell.x) - 1, CHECKED).astype(int))
    expected = in_float64(cell.layers, cell.x[rows])
    difference = np.max(np.abs(came[rows] - expected) / (1 + np.abs(expected)))
    if came.shape != (len(cell.x), expected.shape[1]) or not difference <= TOLERANCE[cell.dtype]:
        raise ValueError(f"outputs of shape {came.shape} differ by {difference:.1e}")
