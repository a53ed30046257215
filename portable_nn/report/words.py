"""What a comparison says, in numbers that people read and in sentences."""

from collections.abc import Iterator, Sequence

from portable_nn.comparison.records import Comparison, Crossover, Row

__all__ = ["bytes_in_words", "class_name", "is_busy", "many", "name", "rate", "seconds", "sentences", "share"]


def seconds(value: float) -> str:
    """A duration with its unit: 37 µs, 1.42 ms, 0.80 s.

    Examples
    --------
    >>> from portable_nn.report.words import seconds
    >>> seconds(3.7e-05), seconds(0.00142), seconds(2)
    ('37 µs', '1.42 ms', '2.00 s')
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= 0.9995 * size:
            digits = 2 if value < 10 * size else 1 if value < 100 * size else 0
            return f"{value / size:.{digits}f} {unit}"
    return f"{value * 1e6:.0f} µs" if value >= 9.95e-6 else f"{value * 1e6:.1f} µs"


def rate(value: float) -> str:
    """A number of samples per second, to three digits.

    Examples
    --------
    >>> from portable_nn.report.words import rate
    >>> rate(27194.23), rate(1_234_567)
    ('27,200', '1,230,000')
    """
    return f"{float(f'{value:.3g}'):,.0f}"


def bytes_in_words(value: int | None) -> str:
    """A number of bytes in MiB, a dash where it is not known.

    Examples
    --------
    >>> from portable_nn.report.words import bytes_in_words
    >>> bytes_in_words(186_671_104), bytes_in_words(None)
    ('178 MiB', '–')
    """
    return "–" if value is None else f"{value / 2**20:,.0f} MiB"


def class_name(label: int, classes: Sequence[str] | Sequence[int] | None) -> str:
    """What the index of a class stands for: its name or number, where there are such, or itself.

    Examples
    --------
    >>> from portable_nn.report.words import class_name
    >>> class_name(1, ["cat", "dog"]), class_name(1, [7, 8]), class_name(3, None)
    ('dog', '8', '3')
    """
    return str(classes[label] if classes else label)


def many(n: int, noun: str) -> str:
    """A number of things: 1 label, 2 labels."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def share(part: int, total: int) -> str:
    """So many of so many."""
    return f"{part:,} of {total:,}"


def name(comparison: Comparison, row: Row | Crossover) -> str:
    """What to call a row: its dtype is left out where all have the same."""
    return _named(comparison, row.name)


def _named(comparison: Comparison, name: str) -> str:
    return name if len({row.dtype for row in comparison.rows}) > 1 else name.rpartition(" ")[0]


def is_busy(comparison: Comparison) -> bool:
    """Whether the machine had other work when this began: its times do not tell what is fastest."""
    here = comparison.environment
    return here.load is not None and here.load > here.cores / 2


def sentences(comparison: Comparison) -> Iterator[str]:
    """What someone should take away: which differ, by how much, whether it matters, and which is fastest."""
    yield from _agreement(comparison)
    if is_busy(comparison):
        here = comparison.environment
        yield (
            f"The machine was busy when this began (load {here.load:.1f} on {many(here.cores, 'core')}): "
            "trust the answers, not the times, which do not tell here what is fastest."
        )
        return
    yield from _winners(comparison, transfers=False)
    yield from _winners(comparison, transfers=True)


def _agreement(comparison: Comparison) -> Iterator[str]:
    agreeing = [row for row in comparison.rows if row.state == "agrees" and row.parity]
    wrong = [row for row in comparison.rows if row.state != "agrees"]
    if agreeing:
        worst = max(row.parity.max_abs_error for row in agreeing if row.parity)
        risk = max(((row.labels.at_risk, row.labels.total) for row in agreeing if row.labels), default=None)
        flips = f"; {share(*risk)} labels could flip (an empirical bound)" if risk else ""
        who = "All agree" if not wrong else f"{many(len(agreeing), 'row')} of {len(comparison.rows)} agree"
        yield f"{who} with NumPy in float64: max error {worst:.1e}{flips}."
    for row in wrong:
        yield f"{name(comparison, row)} {row.state}: {row.symptom}."


def _winners(comparison: Comparison, transfers: bool) -> Iterator[str]:
    found = comparison.crossover(transfers)
    with_moves = " with samples moved there and outputs back" if transfers else ""
    if not found:
        return
    if len(found) == 1:
        yield f"Fastest{with_moves}, for one sample and for many: {_winner(comparison, found[0])}."
        return
    parts = [
        f"{_winner(comparison, winner)} "
        + ("for one sample" if winner.batch_size == 1 else f"from {winner.batch_size:,} samples at once")
        for winner in found
    ]
    yield f"Fastest{with_moves}: {', '.join(parts)}."


def _winner(comparison: Comparison, winner: Crossover) -> str:
    """The fastest row, and those that are as fast as far as can be told."""
    *others, last = [_named(comparison, one) for one in (winner.name, *winner.ties)]
    return f"{', '.join(others)} or {last} (too close to tell)" if others else last
