"""A comparison as one table on the terminal."""

from rich.table import Table
from rich.text import Text

from portable_nn.comparison.records import Comparison, Row
from portable_nn.report.columns import Column, columns

__all__ = ["table"]

WIDE = 140
STYLES = {"agrees": "green", "differs": "bold red", "failed": "bold red", "unsupported": "dim"}


def table(comparison: Comparison, width: int = WIDE) -> Table:
    """Draw a comparison.

    Parameters
    ----------
    comparison : Comparison
    width : int
        Of the terminal, in characters: below 140 only the essential columns are drawn.

    Returns
    -------
    rich.table.Table

    Examples
    --------
    >>> import portable_nn as pnn
    >>> from portable_nn.report.table import table
    >>> images, labels = pnn.datasets.mnist("test")
    >>> found = pnn.compare(pnn.load("mnist"), images[:100], labels[:100], backends=["numpy"], batch_sizes=[10])
    >>> [column.header for column in table(found).columns][:4]
    ['backend', 'dtype', 'answer', 'accuracy']
    """
    wide = width >= WIDE
    dtypes = len({row.dtype for row in comparison.rows}) > 1
    shown = [
        column
        for column in columns(comparison)
        if (wide or column.essential) and any(map(column.cell, comparison.rows))
    ]
    drawn = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    drawn.add_column("backend", overflow="fold", min_width=16)
    if wide or dtypes:
        drawn.add_column("dtype", no_wrap=True)
    drawn.add_column("answer", no_wrap=True)
    for column in shown:
        drawn.add_column(column.header, justify="right", no_wrap=True)
    for row in comparison.rows:
        drawn.add_row(
            Text(row.backend),
            *[row.dtype] * (wide or dtypes),
            Text(row.state, STYLES[row.state]),
            *(_cell(column, row) for column in shown),
        )
    return drawn


def _cell(column: Column, row: Row) -> Text:
    best = row.state == "agrees" and column.best is not None and column.value(row) == column.best
    return Text(column.cell(row), "bold green" if best else "")
