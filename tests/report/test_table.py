"""The table and the sentences below it."""

from dataclasses import replace

import pytest

pytest.importorskip("rich", reason='pip install "portable-nn[cli]"')

from rich.console import Console

from portable_nn.report.columns import columns
from portable_nn.report.table import table
from portable_nn.report.words import rate, seconds, sentences


def printed(comparison, width):
    console = Console(width=width, markup=False)
    with console.capture() as capture:
        console.print(table(comparison, width))
    return capture.get()


@pytest.mark.parametrize("width", [80, 160])
def test_each_row_fits_the_terminal(comparison, width):
    lines = printed(comparison, width).splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    for row in comparison.rows:
        (line,) = (line for line in lines if line.startswith(row.backend))
        assert row.state in line


def test_a_wide_table_tells_more(comparison):
    header = printed(comparison, 160).partition("numpy")[0].split()
    assert {"p90", "flip", "start", "memory"} <= set(header)
    assert "p90" not in printed(comparison, 80)


def test_sentences_name_each_fault_and_the_fastest(comparison):
    idle = replace(comparison.environment, load=0.0)
    said = list(sentences(replace(comparison, environment=idle)))
    assert said[0].startswith("2 rows of 5 agree with NumPy in float64")
    assert "0 of 500 labels could flip (an empirical bound)" in said[0]
    assert [sentence.partition(" ")[0] for sentence in said[1:4]] == [
        "faulty:NOISY",
        "faulty:WRONG_AXIS",
        "faulty:CRASHING",
    ]
    assert said[4].startswith("Fastest")
    assert "faulty" not in said[4] + said[5]


def test_a_tie_is_told(comparison):
    """Two rows of the same times."""
    one, two, *_ = comparison.rows
    idle = replace(comparison.environment, load=0.0)
    rows = one, replace(two, measured=one.measured)
    told = list(sentences(replace(comparison, rows=rows, environment=idle)))
    assert told[1] == "Fastest, for one sample and for many: numpy or array_api_strict (too close to tell)."


def timed(row, seconds):
    """The row as if calls had taken so long, by batch size, and no samples had been moved."""
    one = row.measured.speeds[0]
    speeds = [replace(one, batch_size=size, p10=time, median=time, p90=time) for size, time in seconds.items()]
    return replace(row, measured=replace(row.measured, speeds=tuple(speeds)))


def test_each_is_named_from_the_batch_size_on_where_it_is_fastest(comparison):
    one, two, *wrong = comparison.rows
    rows = timed(one, {1: 1.0, 10: 10.0, 500: 500.0}), timed(two, {1: 5.0, 10: 6.0, 500: 50.0})
    idle = replace(comparison.environment, load=0.0)
    told = list(sentences(replace(comparison, rows=rows, environment=idle)))
    assert told[1:] == ["Fastest: numpy for one sample, array_api_strict from 10 samples at once."]
    told = list(sentences(replace(comparison, rows=(rows[0], timed(wrong[0], {1: 0.1})), environment=idle)))
    assert told[-1] == "Fastest, for one sample and for many: numpy."
    assert len(list(sentences(replace(comparison, rows=tuple(wrong), environment=idle)))) == len(wrong)


@pytest.mark.parametrize(("load", "warned"), [(None, False), (0.9, False), (1.1, True)])
def test_a_busy_machine_is_told_of(comparison, load, warned):
    here = replace(comparison.environment, cores=2, load=load)
    said = " ".join(sentences(replace(comparison, environment=here)))
    assert ("trust the answers, not the times" in said) is warned
    assert ("Fastest" in said) is not warned
    one, two, *_ = comparison.rows
    rows = timed(one, {1: 1.0, 10: 10.0, 500: 500.0}), timed(two, {1: 5.0, 10: 6.0, 500: 500.0})
    found = {column.header: column.best for column in columns(replace(comparison, rows=rows, environment=here))}
    assert found["one\nsample"] == (None if warned else 1.0)
    assert found["samples/s\nby 10"] == (None if warned else 10 / 6)
    assert found["samples/s\nby 500"] is None  # where both are as fast


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.7e-6, "3.7 µs"),
        (9.96e-6, "10 µs"),
        (9.996e-4, "1.00 ms"),
        (0.0123, "12.3 ms"),
        (0.99951, "1.00 s"),
        (12.3, "12.3 s"),
    ],
)
def test_seconds(value, text):
    assert seconds(value) == text


def test_rate_has_three_digits():
    assert [rate(value) for value in (0.123, 9_999, 1_234_567)] == ["0", "10,000", "1,230,000"]
