"""Ratios of times within rounds, and the goals that they are held against."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from benchmarks.contenders import CONTENDERS, WORKLOADS

__all__ = ["GOALS", "OURS", "Figure", "Goal", "Results", "goal_figures", "held", "ratios", "spread"]

Results: TypeAlias = dict[str, dict[str, dict[str, Any]]]
"""The record of each contender, by threads."""

OURS = ("portable-numpy", "portable-torch", "portable-torch-compiled", "portable-jax-compiled")


@dataclass(frozen=True)
class Goal:
    """What a ratio of times may be at most.

    Attributes
    ----------
    ours, against : str
        Names of contenders.
    workload : str
    at_most : mapping
        From "one" thread or "all" to the largest ratio that meets it.
    """

    ours: str
    against: str
    workload: str
    at_most: dict[str, float]


def _both(at_most: float) -> dict[str, float]:
    return {"one": at_most, "all": at_most}


GOALS = (
    Goal("portable-numpy", "book", "labels", {"one": 0.9, "all": 0.75}),
    Goal("portable-numpy", "book-100", "labels", _both(0.6)),
    Goal("portable-numpy", "onnxruntime", "labels", {"one": 1.0, "all": 0.95}),
    Goal("portable-torch", "torch-nn", "labels", _both(0.95)),
    Goal("portable-jax-compiled", "jax-jit", "labels", _both(1.05)),
    Goal("portable-numpy", "keras-numpy-predict", "labels", _both(0.1)),
    Goal("portable-numpy", "book", "probabilities", _both(0.75)),
    Goal("portable-numpy", "onnxruntime", "probabilities", _both(1.2)),
    Goal("portable-numpy", "keras-numpy-call", "probabilities", _both(0.02)),
    Goal("portable-numpy", "book", "label", _both(0.6)),
    Goal("portable-numpy", "onnxruntime", "label", _both(1.0)),
    Goal("portable-torch", "torch-nn", "probabilities", _both(0.75)),
    Goal("portable-numpy", "products", "labels of floats", {"one": 1.15}),
)


@dataclass(frozen=True)
class Figure:
    """One measured figure, its spread, and the goal for it if there is one.

    Attributes
    ----------
    what, threads : str
    median, p10, p90 : float
    at_most : float or None
    unit : str
    """

    what: str
    threads: str
    median: float
    p10: float
    p90: float
    at_most: float | None = None
    unit: str = ""

    @property
    def verdict(self) -> str:
        """Whether the goal is met, nothing where there is none."""
        if self.at_most is None:
            return ""
        return "met" if self.median <= self.at_most else "missed"

    def record(self) -> dict[str, Any]:
        """The figure as JSON has it."""
        return asdict(self) | {"verdict": self.verdict}


def spread(what: str, values: Any, at_most: float | None = None, unit: str = "", threads: str = "") -> Figure:
    """The median of values, and between which lie eight of ten."""
    p10, median, p90 = np.percentile(values, [10, 50, 90]).tolist()
    return Figure(what, threads, median, p10, p90, at_most, unit)


def ratios(ours: dict[str, Any], against: dict[str, Any], workload: str) -> np.ndarray | None:
    """Our time over theirs in each round, None where one of them did not run it."""
    both = [entry.get("seconds", {}).get(workload) for entry in (ours, against)]
    return None if None in both else np.divide(*both)


def held(results: Results) -> Iterator[tuple[Goal, Figure]]:
    """The goals for which both contenders are there, each with its ratio."""
    for goal in GOALS:
        what = f"{WORKLOADS[goal.workload]}: {CONTENDERS[goal.ours].title} / {CONTENDERS[goal.against].title}"
        for threads, at_most in goal.at_most.items():
            entries = results.get(threads, {})
            values = ratios(entries.get(goal.ours, {}), entries.get(goal.against, {}), goal.workload)
            if values is not None:
                yield goal, spread(what, values, at_most, threads=threads)


def goal_figures(results: Results) -> list[Figure]:
    """The ratios that have goals, where both contenders are there."""
    return [figure for _, figure in held(results)]
