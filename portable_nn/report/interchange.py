"""A comparison as JSON, which `schema.json` beside this file describes."""

import json
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from portable_nn.comparison.records import SCHEMA_VERSION, Comparison, rebuilt
from portable_nn.errors import FormatError

__all__ = ["SCHEMA", "from_json", "to_json"]

SCHEMA = Path(__file__).with_name("schema.json")
"""The JSON schema of what `to_json` writes."""


def to_json(comparison: Comparison) -> str:
    """Write a comparison as JSON; what is not finite becomes null.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    str

    Examples
    --------
    >>> import portable_nn as pnn
    >>> from portable_nn.report import from_json, to_json
    >>> images, labels = pnn.datasets.mnist("test")
    >>> found = pnn.compare(pnn.load("mnist"), images[:100], labels[:100], backends=["numpy"], batch_sizes=[10])
    >>> from_json(to_json(found)) == found
    True
    """
    crossover = {
        "without_transfers": [asdict(winner) for winner in comparison.crossover()],
        "with_transfers": [asdict(winner) for winner in comparison.crossover(transfers=True)],
    }
    record = {**asdict(comparison), "holds": comparison.holds, "crossover": crossover}
    for row, written in zip(comparison.rows, record["rows"], strict=True):
        if row.labels is not None:
            written["labels"]["accuracy"] = row.labels.accuracy
    return json.dumps(_finite(record), indent=2, allow_nan=False)


def from_json(text: str | bytes) -> Comparison:
    """Read a comparison that `to_json` wrote.

    Parameters
    ----------
    text : str or bytes

    Returns
    -------
    Comparison

    Raises
    ------
    FormatError
        If it is no such JSON.
    """
    try:
        record = json.loads(text)
        if record["schema_version"] != SCHEMA_VERSION:
            raise FormatError(
                f"a comparison of schema version {record['schema_version']!r}, this package reads "
                f"{SCHEMA_VERSION}: write it anew with portable-nn compare --json"
            )
        return rebuilt(Comparison, record)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(
            f"not a comparison ({type(error).__name__}: {error}): write one with portable-nn compare --json"
        ) from error


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value
