"""The columns of a comparison, the same on the terminal and on the page."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from portable_nn.comparison.records import Comparison, Row, Speed
from portable_nn.report.words import bytes_in_words, is_busy, rate, seconds

__all__ = ["Column", "columns", "shown_sizes"]


@dataclass(frozen=True)
class Column:
    """One figure of each row.

    Attributes
    ----------
    header : str
        At most two lines.
    meaning : str
        The header in a sentence.
    value : callable
        The figure of a row, None where it has none.
    text : callable
        The figure as people read it.
    essential : bool
        Whether it is shown where there is little room.
    best : float or None
        The best figure among the rows that agree; None where none is better than another, or the machine was too
        busy to tell.
    """

    header: str
    meaning: str
    value: Callable[[Row], Any]
    text: Callable[[Any], str]
    essential: bool = True
    best: float | None = None

    def cell(self, row: Row) -> str:
        """The figure of a row as people read it, nothing where there is none."""
        value = self.value(row)
        return "" if value is None else self.text(value)


def shown_sizes(comparison: Comparison) -> tuple[int, ...]:
    """At most three of the batch sizes beyond one sample, evenly spread, the largest among them."""
    sizes = comparison.batch_sizes[1:]
    step = max(1, -(-len(sizes) // 3))
    return sizes[::-1][::step][::-1]


def columns(comparison: Comparison) -> list[Column]:
    """The columns after the backend, the dtype and the state.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    list of Column
    """
    sizes = shown_sizes(comparison)
    largest = (1, *sizes)[-1]
    return [
        Column("accuracy", "share of the samples given their true label", _accuracy, "{:.4f}".format),
        Column("max\nerror", "largest difference of an output from NumPy in float64", _error, "{:.1e}".format),
        Column(
            "max rel.\nerror",
            "largest difference relative to the reference",
            lambda row: row.parity and row.parity.max_rel_error,
            "{:.1e}".format,
            essential=False,
        ),
        Column(
            "labels\ndiffer",
            "samples given another label than by NumPy in float64",
            lambda row: row.labels and row.labels.differ,
            "{:,}".format,
        ),
        Column(
            "could\nflip",
            "samples whose two highest outputs lie closer than twice the max error: an empirical bound",
            lambda row: row.labels and row.labels.at_risk,
            "{:,}".format,
            essential=False,
        ),
        _best(
            comparison,
            lambda row: _speed(row, 1),
            Column("one\nsample", "median time for one sample", lambda row: _median(row, 1), seconds),
        ),
        Column(
            "p90",
            "time within which nine of ten calls with one sample came back",
            lambda row: (speed := _speed(row, 1)) and speed.p90,
            seconds,
            essential=False,
        ),
        *(_throughput(comparison, size, transfers=False) for size in sizes),
        _throughput(comparison, largest, transfers=True),
        Column(
            "cold\nstart",
            "import of the library, placing of the weights and first call",
            lambda row: row.measured and row.measured.cold_start.total,
            seconds,
            essential=False,
        ),
        Column(
            "host\nmemory",
            "most memory that the measuring process held",
            lambda row: row.measured and row.measured.host_memory,
            bytes_in_words,
            essential=False,
        ),
        Column(
            "device\nmemory",
            "most memory that arrays took on the device, where the library tells",
            lambda row: row.measured and row.measured.device_memory,
            bytes_in_words,
            essential=False,
        ),
    ]


def _throughput(comparison: Comparison, size: int, transfers: bool) -> Column:
    moved = ", moving them to the device and outputs back" if transfers else ""
    column = Column(
        f"{'with moves' if transfers else 'samples/s'}\nby {size:,}",
        f"samples per second in batches of {size:,}{moved}",
        lambda row: (speed := _speed(row, size, transfers)) and speed.images_per_second,
        rate,
        essential=not transfers,
    )
    return _best(comparison, lambda row: _speed(row, size, transfers), column)


def _best(comparison: Comparison, speed: Callable[[Row], Speed | None], column: Column) -> Column:
    """The column with its best figure: that of a row which is faster beyond doubt than all others that agree."""
    rows = () if is_busy(comparison) else comparison.rows
    timed = [(found, row) for row in rows if row.state == "agrees" and (found := speed(row))]
    if not timed:
        return column
    fastest, row = min(timed, key=lambda pair: pair[0].median)
    alone = all(fastest.beats(other) for other, _ in timed if other is not fastest)
    return replace(column, best=column.value(row)) if alone else column


def _speed(row: Row, size: int, transfers: bool = False) -> Speed | None:
    return None if row.measured is None else row.measured.speed(size, transfers)


def _median(row: Row, size: int) -> float | None:
    speed = _speed(row, size)
    return None if speed is None else speed.median


def _accuracy(row: Row) -> float | None:
    return None if row.labels is None else row.labels.accuracy


def _error(row: Row) -> float | None:
    return None if row.parity is None else row.parity.max_abs_error
