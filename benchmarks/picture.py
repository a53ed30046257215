"""The ratios of a race as a picture."""

import os
from typing import Any

from benchmarks.contenders import CONTENDERS, WORKLOADS
from benchmarks.ratios import GOALS, OURS, Figure, ratios, spread

__all__ = ["draw"]

PANELS = (
    ("portable-numpy", "labels"),
    ("portable-torch", "labels"),
    ("portable-jax-compiled", "labels"),
    ("portable-numpy", "probabilities"),
    ("portable-numpy", "label"),
    ("portable-torch", "probabilities"),
)
COLOURS = {"one": "#1f6fb2", "all": "#e07b00"}
LEGENDS = {"one": "one thread", "all": "all cores"}
TICKS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
MARGINS = 0.7, 1.7


def draw(results: dict[str, dict[str, Any]], path: str | os.PathLike[str]) -> None:
    """Write the picture: our time over theirs, left of 1 where this package is faster, goals as black ticks."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with mpl.rc_context({"font.size": 9, "svg.hashsalt": "portable_nn"}):
        figure, axes = plt.subplots(3, 2, figsize=(12, 14), layout="constrained")
        for panel, (ours, workload) in zip(axes.flat, PANELS, strict=True):
            _draw_panel(panel, results, ours, workload)
        shown = {
            text: handle
            for panel in axes.flat
            for handle, text in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=3, frameon=False)
        figure.savefig(path, dpi=110, metadata={"Date": None} if str(path).endswith(".svg") else None)
        plt.close(figure)


def _draw_panel(panel: Any, results: dict[str, dict[str, Any]], ours: str, workload: str) -> None:
    rows = _rows(results, ours, workload)
    at_most = {
        (goal.against, threads): limit
        for goal in GOALS
        if (goal.ours, goal.workload) == (ours, workload)
        for threads, limit in goal.at_most.items()
    }
    shown = [found for by_threads in rows.values() for found in by_threads.values()]
    left = min([1, *(found.p10 for found in shown), *at_most.values()]) * MARGINS[0]
    right = max([1, *(found.p90 for found in shown)]) * MARGINS[1]
    panel.set_xscale("log")
    panel.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    panel.set_xticks([], minor=True)
    panel.set_xlim(left, right)
    panel.axvline(1, color="0.6", linewidth=1)
    for y, (against, by_threads) in enumerate(rows.items()):
        for threads, found in by_threads.items():
            _draw_figure(panel, y, threads, found, at_most.get((against, threads)))
    panel.set_title(f"{CONTENDERS[ours].title}\n{WORKLOADS[workload]}", loc="left", fontweight="bold")
    panel.set_yticks(range(len(rows)), [CONTENDERS[against].title for against in rows])
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.set_xlabel("time of portable_nn / time of the other")
    panel.grid(axis="x", color="0.92")
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.tick_params(axis="y", length=0)


def _draw_figure(panel: Any, y: int, threads: str, found: Figure, at_most: float | None) -> None:
    place = y + (-0.19 if threads == "one" else 0.19)
    panel.plot([found.p10, found.p90], [place, place], color=COLOURS[threads], linewidth=2.5, alpha=0.45)
    panel.plot(found.median, place, "o", color=COLOURS[threads], markersize=5, label=LEGENDS[threads])
    panel.annotate(
        f"{found.median:.2g}", (found.p90, place), (5, 0), textcoords="offset points", va="center",
        fontsize=7.5, color=COLOURS[threads],
    )  # fmt: skip
    if at_most is not None:
        panel.plot(at_most, place, "|", color="black", markersize=9, markeredgewidth=1.6, label="goal, at most")


def _rows(results: dict[str, dict[str, Any]], ours: str, workload: str) -> dict[str, dict[str, Figure]]:
    """The figure of each other contender by threads, the contender that is hardest to beat last."""
    rows: dict[str, dict[str, Figure]] = {}
    for against in CONTENDERS:
        for threads, entries in results.items():
            values = ratios(entries.get(ours, {}), entries.get(against, {}), workload)
            if against not in OURS and values is not None:
                rows.setdefault(against, {})[threads] = spread(against, values)
    return dict(sorted(rows.items(), key=lambda row: max(found.median for found in row[1].values())))
