"""Figures as tables, on the terminal and in Markdown."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.contenders import AUTOMATIC, CONTENDERS, MANY, WORKLOADS
from benchmarks.ratios import OURS, Figure, Results, held, ratios, spread
from benchmarks.targets import Ratio

__all__ = ["AMOUNTS", "Table", "figures_table", "number", "race_tables", "ratios_table", "shortfall_table"]

WIDTH = 180
"""Characters of a line where the output is no terminal."""

COLOURS = {"met": "green", "missed": "red"}
AMOUNTS = {"one": "one thread", "all": "all cores", "": ""}


@dataclass(frozen=True)
class Table:
    """Rows of text under headers."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]

    def print(self) -> None:
        """Print it on the terminal, verdicts in colour."""
        table = RichTable(title=self.title, title_justify="left", box=None, pad_edge=False)
        for i, header in enumerate(self.headers):
            table.add_column(header, justify="right" if i else "left")
        for row in self.rows:
            table.add_row(*(f"[{COLOURS[cell]}]{cell}" if cell in COLOURS else cell for cell in row))
        console = Console(width=None if sys.stdout.isatty() else WIDTH)
        console.print(table)
        console.print()

    def markdown(self) -> str:
        """The table in Markdown, without its title."""
        rule = ["---", *["---:"] * (len(self.headers) - 1)]
        return "\n".join("| " + " | ".join(row) + " |" for row in [self.headers, rule, *self.rows])


def number(value: float | None, unit: str = "", digits: int = 3) -> str:
    """Digits and the unit, nothing for None."""
    if value is None:
        return ""
    shown = f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:,.{digits}g}"
    return f"{shown} {unit}".rstrip()


def median_of(figure: Figure) -> str:
    """Three digits, or as many more as one that is missed needs to look larger than what it may be."""
    digits = 3
    if figure.verdict == "missed":
        while float(f"{figure.median:.{digits}g}") <= figure.at_most:
            digits += 1
    return number(figure.median, figure.unit, digits)


def between(figure: Figure) -> str:
    """Its spread, nothing where it was measured once."""
    return f"{number(figure.p10)} to {number(figure.p90)}" if figure.p10 < figure.p90 else ""


def figures_table(title: str, figures: Iterable[Figure]) -> Table:
    """A row for each figure, with its goal."""
    rows = [
        (
            figure.what,
            AMOUNTS[figure.threads],
            median_of(figure),
            between(figure),
            number(figure.at_most, figure.unit),
            figure.verdict,
        )
        for figure in figures
    ]
    return Table(title, ("what", "threads", "median", "10 % to 90 %", "at most", ""), rows)


def ratios_table(ratios: Iterable[Ratio]) -> Table:
    """A row for each ratio of the suite."""
    rows = [
        (
            ratio.figure.what,
            ratio.network,
            number(ratio.rows),
            AMOUNTS[ratio.threads],
            median_of(ratio.figure),
            between(ratio.figure),
            number(ratio.ours * 1e6, "µs"),
            number(ratio.theirs * 1e6, "µs"),
            number(ratio.figure.at_most),
            ratio.figure.verdict,
        )
        for ratio in ratios
    ]
    headers = ("what", "network", "rows", "threads", "ratio", "10 % to 90 %", "ours", "theirs", "at most", "")
    return Table("Every ratio, the worst first", headers, rows)


def shortfall_table(results: Results) -> Table:
    """For each goal that is missed, the time that would meet it beside what arithmetic alone takes."""
    rows = []
    for goal, figure in held(results):
        if figure.verdict == "missed":
            times = {
                name: {workload: spread("", taken).median for workload, taken in entry["seconds"].items()}
                for name, entry in results[figure.threads].items()
                if "seconds" in entry
            }
            theirs = times[goal.against][goal.workload]
            shown = (
                theirs,
                theirs * goal.at_most[figure.threads],
                times[goal.ours][goal.workload],
                *(times.get(limit, {}).get("labels of floats") for limit in ("products", "peak")),
            )
            rows.append((figure.what, AMOUNTS[figure.threads], *(number(s and s * 1e3, "ms") for s in shown)))
    headers = ("what", "threads", "theirs", "meets the goal", "ours", "products alone", "a square product")
    return Table("Missed", headers, rows)


def race_tables(results: Results) -> Iterator[Table]:
    """For each workload and number of threads every contender's time, and the ratios of ours to it."""
    for workload, title in WORKLOADS.items():
        for threads, entries in results.items():
            ours = [name for name in OURS if workload in entries.get(name, {}).get("seconds", {})]
            rows = [
                (
                    *_times(name, entry, workload),
                    *("" if name == our else _ratio(entries[our], entry, workload) for our in ours),
                )
                for name, entry in sorted(entries.items(), key=lambda item: item[0] not in OURS)
                if workload in entry.get("seconds", {})
            ]
            titles = [f"{CONTENDERS[our].title} / it" for our in ours]
            headers = ["contender", "batch size", "time", "cores busy", *titles]
            yield Table(f"{title}, {AMOUNTS[threads]}", headers, rows)


def _times(name: str, entry: dict, workload: str) -> tuple[str, ...]:
    many = workload in MANY
    size = entry["batch_sizes"][workload]
    seconds = spread("", entry["seconds"][workload]).median
    cores = spread("", entry["cores"][workload]).median
    return (
        CONTENDERS[name].title,
        "automatic" if size == AUTOMATIC else number(size),
        number(seconds * 1e3, "ms") if many else number(seconds * 1e6, "µs"),
        f"{cores:.1f}",
    )


def _ratio(ours: dict, entry: dict, workload: str) -> str:
    found = spread("", ratios(ours, entry, workload))
    return f"{number(found.median)} ({between(found)})" if between(found) else number(found.median)
