"""Comma-separated values: numbers, a sample a line, with the names of the columns in the first or without."""

import csv
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from portable_nn.errors import FormatError
from portable_nn.readers.buffers import MAX_BYTES, reading

__all__ = ["LABELS", "Table", "read_csv"]

LABELS = "label", "labels"
"""The names of a column that holds what each sample is."""

MAX_LINE = 2**21  # signs: a list of short values takes twenty times as many bytes

COUNTED = 3
"""Columns from which a first line 0, 1, 2, … was hardly measured: pandas counts columns so that have no names."""


class Table(NamedTuple):
    """What a file holds: values of shape (N, n), float64, and the text of the N labels where there are some."""

    values: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any] | None


def read_csv(path: str | os.PathLike[str], inputs: Sequence[str] | None = None) -> Table:
    r"""Read numbers that commas separate, one sample a line.

    A first line that is not all numbers names the columns. One that is named ``label`` or ``labels`` may hold any
    text. Values take eight bytes each in memory, 1 GiB at most.

    Parameters
    ----------
    path : str or path-like
        In UTF-8; text may be in double quotes.
    inputs : sequence of str, optional
        The names of the features. Columns that have names are put in their order; others are taken as they are.

    Returns
    -------
    Table

    Raises
    ------
    FormatError
        If the file cannot be read or has no sample, a value is no number, lines differ in length, a name is there
        twice, or the names are not those of `inputs`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from portable_nn.readers.csv import read_csv
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "x.csv")
    ...     _ = path.write_text("width,label,length\n1,cat,2\n3,dog,4\n")
    ...     table = read_csv(path, ["length", "width"])
    >>> table.values.tolist(), table.labels.tolist()
    ([[2.0, 1.0], [4.0, 3.0]], ['cat', 'dog'])
    """
    remedy = "write a sample a line, with commas between numbers"
    with (
        reading(path, "a table of numbers", remedy, ValueError, csv.Error),
        open(path, encoding="utf-8-sig", newline="") as file,
    ):
        return _read(path, _rows(file), inputs)


def _rows(file: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """The values of each line that is not empty, with its number."""
    for number, line in enumerate(file, 1):
        if len(line) > MAX_LINE:
            raise ValueError(f"line {number} has {len(line):,} signs, the limit is {MAX_LINE:,}")
        yield from ((number, row) for row in csv.reader([line], strict=True, skipinitialspace=True) if row)


def _read(
    path: str | os.PathLike[str], rows: Iterator[tuple[int, list[str]]], inputs: Sequence[str] | None
) -> Table:
    _, first = next(rows, (0, []))
    if not first:
        raise ValueError("it is empty")
    names = [name.strip() for name in first]
    named = not all(map(_is_number, names)) or (inputs is not None and set(names) >= set(inputs))
    if not named and len(names) >= COUNTED and names == list(map(str, range(len(names)))):
        raise ValueError("line 1 counts the columns, which may be their names: leave it out, or name them")
    order, labelled = _columns(path, names, inputs) if named else (None, None)
    values, labels = array("d", [] if named else map(float, first)), []
    for number, row in rows:
        if len(row) != len(names):
            raise ValueError(f"line {number} has {len(row)} values, the first has {len(names)}")
        if labelled is not None:
            labels.append(row.pop(labelled).strip())
        if "_" in "".join(row) or not _extended(values, row):  # Python's own numbers may have _
            wrong = next(value for value in row if not _is_number(value))
            raise ValueError(f"line {number} holds {wrong!r:.80}, which is no number")
        if 8 * len(values) > MAX_BYTES:
            raise ValueError(f"it holds more than {MAX_BYTES // 8:,} values: save them as .npy, which is mapped")
    width = len(names) - (labelled is not None)
    if not values:
        raise ValueError("it names columns and has no sample")
    found = np.frombuffer(values).reshape(-1, width)
    return Table(
        found if order is None else found[:, order],
        None if labelled is None else np.array(labels, dtype=object),
    )


def _columns(
    path: str | os.PathLike[str], names: list[str], inputs: Sequence[str] | None
) -> tuple[list[int] | None, int | None]:
    """The columns of the features in order, None for all as they are, and that of the labels if there is one."""
    if "" in names:
        raise ValueError(f"column {names.index('') + 1} has no name: leave it out, as index=False does in pandas")
    if twice := [name for name, n in Counter(names).items() if n > 1]:
        raise ValueError(f"several columns are named {_few(twice)}")
    taken = set(inputs or ())
    labelled = [i for i, name in enumerate(names) if name.lower() in LABELS and name not in taken]
    if len(labelled) > 1:
        raise ValueError(f"{' and '.join(names[i] for i in labelled)} both name labels: leave one out")
    where = {name: i for i, name in enumerate(name for i, name in enumerate(names) if i not in labelled)}
    label = labelled[0] if labelled else None
    if inputs is None:
        if stray := [name for name in where if _is_number(name) and not name.isdecimal()]:
            raise ValueError(f"line 1 holds both names and numbers: {_few(stray)}")
        return None, label
    missing = [name for name in inputs if name not in where]
    others = [name for name in where if name not in taken]
    if missing or others:
        lacks = [f"lacks the columns {_few(missing)}"] * bool(missing)
        has = [f"has {_few(others)} besides, where labels would be named label"] * bool(others)
        raise FormatError(f"{path} {' and '.join(lacks + has)}: the network takes {_few(list(inputs))}")
    return [where[name] for name in inputs], label


def _extended(values: Any, row: list[str]) -> bool:
    try:
        values.extend(map(float, row))
    except ValueError:
        return False
    return True


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _few(names: list[str], most: int = 5) -> str:
    more = [f"… ({len(names)} in all)"] * (len(names) > most)
    return ", ".join([f"{name:.40}" for name in names[:most]] + more)
