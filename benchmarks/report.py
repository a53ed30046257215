"""`RESULTS.md`: everything that was measured, with the date, the machine and the versions."""

from collections.abc import Sequence
from typing import Any

from benchmarks import scale
from benchmarks.contenders import CONTENDERS
from benchmarks.gpu import NO_DEVICE
from benchmarks.ratios import Figure, Results, goal_figures
from benchmarks.suite import Suite
from benchmarks.tables import Table, figures_table, race_tables, shortfall_table

__all__ = ["absentees", "results", "suite_absentees"]

HOW = """\
Each contender runs in a process of its own, and one computes at a time. In each round all take a turn, in an
order that turns by one place, those that are compared one after the other, each for at least 60 ms and after as
long to warm up. No turn starts before the idle threads of the one before have stopped spinning. A ratio is our
time over theirs in the same round; given are the median over rounds, and the 10th and 90th percentile.
Contenders that work in batches do so at their own
best batch size, found before among 100, 250, 500, 1,000, 2,500 and 10,000 ("automatic" is what this package
chooses by itself). Every answer is checked against float64 before anything is timed.

Images are uint8 arrays of NumPy, and the cast and the division by 255 are timed. ONNX Runtime's and
scikit-learn's model take floats: NumPy casts and divides before them, in the time that counts. One image is an
array of the library already, for this package on PyTorch and JAX as for those libraries themselves.

"One thread" holds the BLAS, OpenMP, XLA, PyTorch and ONNX Runtime to one thread each by their settings, and this
package to one worker. "Cores busy" is processor time over time, which shows who goes beyond that.\
"""

STEPS = """\
What is above holds the missed goals against the arithmetic: the three matrix products of float32 images by the
weights, nothing else done, at their best batch size; and one square product of as many operations, which is what
the machine can do. Below, the steps of `predict` are written by hand and timed one by one, in batches of 1,000 on
one thread. Casts and products are NumPy's and its BLAS's own: a goal below their time is out of reach for whoever
calls them.\
"""

MEMORY = """\
Peak anonymous memory is RssAnon of the labelling process, read every 2 ms by another process, less what it was
after imports and a first prediction. Pages of a mapped file are not counted: the system drops them when it needs
room. Labels that are returned as one array take 8 bytes each, and as much again while batches are put together.
The overhead of a call is its time less that of the same array operations written by hand, on one thread, in
turns. Imports are timed inside fresh interpreters, in turns, from bytecode of all modules.\
"""


def results(peers: dict[str, Any], scaled: dict[str, Any], gpu: Sequence[Figure], picture: str) -> str:
    """The text of the file, from the JSON of the races and of `scale`, and the figures of `gpu`."""
    by_scale = scale.figures(scaled["results"])
    goals = [*goal_figures(peers["results"]), *(figure for figure in by_scale if figure.at_most is not None)]
    met = sum(figure.verdict == "met" for figure in goals)
    races = [f"### {table.title}\n\n{table.markdown()}" for table in race_tables(peers["results"])]
    absent = [f"- {line}" for line in absentees(peers["results"])]
    sections = [
        "# Results\n\nWritten by `python -m benchmarks report`.",
        _environment(peers["environment"]).markdown(),
        f"## Goals: {met} of {len(goals)} met",
        figures_table("Goals", goals).markdown(),
        f"![Ratios of times]({picture})",
        f"## Where the time goes\n\n{shortfall_table(peers['results']).markdown()}\n\n{STEPS}",
        figures_table("Steps", scale.step_figures(scaled["results"])).markdown(),
        f"## Races\n\n{HOW}",
        *races,
        *(["### Not in the races", "\n".join(absent)] if absent else []),
        f"## Scale\n\n{figures_table('Scale', by_scale).markdown()}\n\n{MEMORY}",
        f"## GPU\n\n{figures_table('GPU', gpu).markdown() if gpu else NO_DEVICE}",
    ]
    return "\n\n".join(sections) + "\n"


def absentees(races: Results) -> list[str]:
    """Who did not run, and why."""
    return [
        f"{CONTENDERS[name].title}, threads: {threads}: {entry['state']}: {entry['reason']}"
        for threads, entries in races.items()
        for name, entry in entries.items()
        if entry["state"] != "ready"
    ]


def suite_absentees(found: dict[str, Suite]) -> list[str]:
    """Who did not run which networks of the suite, and why."""
    reasons: dict[str, list[str]] = {}
    for threads, networks in found.items():
        for network, batches in networks.items():
            for batch, entries in batches.items():
                for name, entry in entries.items():
                    if entry["state"] != "ready":
                        reason = f"{CONTENDERS[name].title}: {entry['state']}: {entry['reason']}"
                        reasons.setdefault(reason, []).append(f"{network} by {int(batch):,}, threads: {threads}")
    return [f"{reason} ({'; '.join(where)})" for reason, where in reasons.items()]


def _environment(found: dict[str, Any]) -> Table:
    rows = [(name, str(value)) for name, value in found.items() if name != "versions"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return Table("Machine", ("machine", ""), [*rows, ("versions", versions)])
