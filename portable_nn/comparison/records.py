"""What a comparison finds: frozen records, and the way back from the dictionaries that JSON holds."""

import types
from dataclasses import dataclass, fields, is_dataclass
from itertools import compress
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from portable_nn._display import Rows, html_table, text_table
from portable_nn.comparison.environment import Environment
from portable_nn.metrics import LabelParity, Parity

__all__ = ["ColdStart", "Comparison", "Crossover", "Measured", "Row", "Speed", "rebuilt"]

SCHEMA_VERSION = 2
LEAD = 1.1
"""A median that is less than a tenth ahead is within the noise, however few calls were timed."""

T = TypeVar("T")


@dataclass(frozen=True)
class Speed:
    """How long batches of one size took.

    Attributes
    ----------
    batch_size : int
        Samples per call.
    transfers : bool
        Whether moving samples to the device and outputs back is counted.
    p10, median, p90 : float
        Seconds per call: one of ten took at most `p10`, half of them at most `median`, nine of ten at most `p90`.
    iterations : int
        Calls that were timed.
    """

    batch_size: int
    transfers: bool
    p10: float
    median: float
    p90: float
    iterations: int

    @property
    def images_per_second(self) -> float:
        """At the median."""
        return self.batch_size / self.median

    def beats(self, other: "Speed") -> bool:
        """Whether it is faster beyond doubt: nine calls of ten than nine of ten, and by a tenth at the median."""
        return self.p90 < other.p10 and self.median * LEAD < other.median


@dataclass(frozen=True)
class ColdStart:
    """Seconds before the first answer: library imported, weights placed, first call done."""

    imported: float
    placed: float
    first_call: float

    @property
    def total(self) -> float:
        """All three."""
        return self.imported + self.placed + self.first_call


@dataclass(frozen=True)
class Measured:
    """What the measuring process saw of a backend.

    Attributes
    ----------
    device, version : str
        The library's own name of the device, and the library's version.
    precision : str
        How products are rounded: the dtype, or tf32 or bfloat16 where float32 products are rounded so.
    stale : bool
        Whether outputs changed when the device was synchronised after they had been fetched.
    batch_effect : float
        The largest difference of an output between batches of 1, of 7, and all samples at once.
    cold_start : ColdStart
    speeds : tuple of Speed
    host_memory, device_memory : int or None
        The most bytes held at once, None where nobody tells.
    threads : tuple of str
        The thread pools of native libraries, with their sizes.
    """

    device: str
    version: str
    precision: str
    stale: bool
    batch_effect: float
    cold_start: ColdStart
    speeds: tuple[Speed, ...]
    host_memory: int | None
    device_memory: int | None
    threads: tuple[str, ...]

    def speed(self, batch_size: int, transfers: bool = False) -> Speed | None:
        """The speed at a batch size, None if it was not measured."""
        wanted = batch_size, transfers
        return next((speed for speed in self.speeds if (speed.batch_size, speed.transfers) == wanted), None)


@dataclass(frozen=True)
class Row:
    """One backend in one dtype.

    Attributes
    ----------
    backend, dtype : str
    state : {"agrees", "differs", "failed", "unsupported"}
        "differs" is measured and wrong, "failed" gave nothing, "unsupported" lacks the dtype.
    symptom : str
        What is wrong; "" where nothing is.
    parity : Parity or None
        Of the outputs, against NumPy in float64; None where there are none.
    labels : LabelParity or None
        None where there are no outputs, or outputs mean no labels (regression).
    measured : Measured or None
    """

    backend: str
    dtype: str
    state: Literal["agrees", "differs", "failed", "unsupported"]
    symptom: str
    parity: Parity | None = None
    labels: LabelParity | None = None
    measured: Measured | None = None

    @property
    def name(self) -> str:
        """Backend and dtype."""
        return f"{self.backend} {self.dtype}"


@dataclass(frozen=True)
class Crossover:
    """The fastest row from a batch size on, until the next one.

    Attributes
    ----------
    batch_size : int
    name : str
        Of the row.
    images_per_second : float
        At that batch size.
    ties : tuple of str
        Other rows that it beats at none of its batch sizes.
    """

    batch_size: int
    name: str
    images_per_second: float
    ties: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Comparison:
    """A network on many backends. It shows itself as a table of the main figures; `rows` holds all of them.

    Attributes
    ----------
    model : str
        What the network is called.
    network : str
        Its layers.
    classes : tuple of str or of int, or None
        What the indices that labels are stand for, where the network says it and each sample has one label.
    samples : int
        Along all leading axes.
    batch_sizes : tuple of int
    rows : tuple of Row
    environment : Environment
    schema_version : int
        Of the JSON form.

    Examples
    --------
    >>> import portable_nn as pnn
    >>> images, labels = pnn.datasets.mnist("test")
    >>> found = pnn.compare(pnn.load("mnist"), images[:100], labels[:100], backends=["numpy"], in_process=True)
    >>> found.holds, found.rows[0].name
    (True, 'numpy float32')
    """

    model: str
    network: str
    classes: tuple[str, ...] | tuple[int, ...] | None
    samples: int
    batch_sizes: tuple[int, ...]
    rows: tuple[Row, ...]
    environment: Environment
    schema_version: int = SCHEMA_VERSION

    @property
    def holds(self) -> bool:
        """Whether at least one backend agrees with the reference, and none differs or failed."""
        states = {row.state for row in self.rows}
        return "agrees" in states and states <= {"agrees", "unsupported"}

    def __repr__(self) -> str:
        return text_table(self._table())

    def _repr_html_(self) -> str:
        return html_table(self._table())

    def _table(self) -> Rows:
        sizes = (1, self.batch_sizes[-1])
        header = (
            "backend",
            "dtype",
            "answer",
            "accuracy",
            "max error",
            "labels differ",
            *(f"samples/s by {n:,}" for n in sizes),
        )
        rows = [(row.backend, row.dtype, row.state, *_figures(row, sizes)) for row in self.rows]
        known = [any(column[1:]) for column in zip(header, *rows, strict=True)]
        return [tuple(compress(line, known)) for line in (header, *rows)]

    def crossover(self, transfers: bool = False) -> tuple[Crossover, ...]:
        """Which row is fastest from which batch size on; rows that differ from the reference do not compete.

        A row stays the fastest until another beats it beyond doubt, as `Speed.beats` says: these are the fewest
        changes that the times allow.
        """
        found: list[Crossover] = []
        for size in self.batch_sizes:
            unbeaten = self._unbeaten(size, transfers)
            stay = [name for name in (found[-1].name, *found[-1].ties) if name in unbeaten] if found else []
            if stay:
                start = found.pop()
                unbeaten = self._unbeaten(start.batch_size, transfers)
                found.append(Crossover(start.batch_size, stay[0], unbeaten[stay[0]], tuple(stay[1:])))
            elif unbeaten:
                first, *ties = unbeaten
                found.append(Crossover(size, first, unbeaten[first], tuple(ties)))
        return tuple(found)

    def _unbeaten(self, size: int, transfers: bool) -> dict[str, float]:
        """Images per second of the rows that the fastest one does not beat at a batch size, it before all."""
        speeds = {
            row.name: speed
            for row in self.rows
            if row.state == "agrees" and row.measured and (speed := row.measured.speed(size, transfers))
        }
        order = sorted(speeds, key=lambda name: speeds[name].median)
        return {
            name: speeds[name].images_per_second for name in order if not speeds[order[0]].beats(speeds[name])
        }


def _figures(row: Row, sizes: tuple[int, ...]) -> tuple[str, ...]:
    """Accuracy, largest error, labels that differ, speed by each size; nothing where a row has none."""
    speeds = [row.measured and row.measured.speed(size) for size in sizes]
    return (
        f"{row.labels.accuracy:.4f}" if row.labels and row.labels.accuracy is not None else "",
        f"{row.parity.max_abs_error:.1e}" if row.parity else "",
        f"{row.labels.differ:,}" if row.labels else "",
        *(f"{speed.images_per_second:,.0f}" if speed else "" for speed in speeds),
    )


def rebuilt(cls: type[T], data: Any) -> T:
    """A record from the dictionaries, lists and numbers that JSON holds; null is infinity where a float belongs.

    Raises
    ------
    KeyError, TypeError
        If a field is missing, or is not what it should be.
    """
    return _rebuilt(cls, data)  # type: ignore[no-any-return]


def _rebuilt(kind: Any, data: Any) -> Any:
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{field.name: _rebuilt(hints[field.name], data[field.name]) for field in fields(kind)})  # type: ignore[operator]
    if get_origin(kind) in (Union, types.UnionType):
        inner = next(option for option in get_args(kind) if option is not type(None))
        return None if data is None else _rebuilt(inner, data)
    if get_origin(kind) is tuple:
        return tuple(_rebuilt(get_args(kind)[0], item) for item in data)
    return float("inf") if kind is float and data is None else data
