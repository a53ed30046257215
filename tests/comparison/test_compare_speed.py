"""Which row is the fastest, as far as its times tell."""

import pytest

from portable_nn.comparison.environment import environment
from portable_nn.comparison.records import ColdStart, Comparison, Measured, Row, Speed


def a_row(backend, speeds, state="agrees"):
    measured = Measured(
        device="cpu",
        version="1",
        precision="float32",
        stale=False,
        batch_effect=0.0,
        cold_start=ColdStart(0.0, 0.0, 0.0),
        speeds=tuple(
            Speed(size, False, *(size / rate * noise for noise in (0.98, 1, 1.05)), 9)
            for size, rate in speeds.items()
        ),
        host_memory=None,
        device_memory=None,
        threads=(),
    )
    return Row(backend, "float32", state, "", measured=measured)


def test_crossover_names_the_winner_from_each_batch_size_on_by_a_clear_lead():
    rows = (
        a_row("small", {1: 100.0, 2: 110.0, 4: 120.0, 8: 120.0}),
        a_row("large", {1: 1.0, 2: 115.0, 4: 900.0, 8: 1000.0}),
        a_row("wrong", {1: 1e9, 2: 1e9, 4: 1e9, 8: 1e9}, state="differs"),
    )
    found = Comparison("m", "n", None, 1, (1, 2, 4, 8), rows, environment())
    assert [(winner.batch_size, winner.name) for winner in found.crossover()] == [
        (1, "small float32"),
        (4, "large float32"),
    ]
    assert found.crossover(transfers=True) == ()


def crossover(*rows):
    found = Comparison("m", "n", None, 1, (1, 2, 4, 8), rows, environment())
    return [(winner.batch_size, winner.name, winner.ties) for winner in found.crossover()]


def test_a_verdict_changes_only_where_intervals_are_apart():
    """Two that take turns by a twentieth, then by a fifth of which the calls of a tenth overlap."""
    one = a_row("one", {1: 100.0, 2: 105.0, 4: 100.0, 8: 105.0})
    two = a_row("two", {1: 105.0, 2: 100.0, 4: 105.0, 8: 100.0})
    assert crossover(one, two) == [(1, "two float32", ("one float32",))]
    slow = a_row("slow", {1: 10.0, 2: 10.0, 4: 10.0, 8: 10.0})
    assert crossover(one, two, slow) == crossover(one, two)
    winning = a_row("winning", {1: 1.0, 2: 1.0, 4: 1.0, 8: 300.0})
    assert crossover(one, two, winning) == [
        (1, "two float32", ("one float32",)),
        (8, "winning float32", ()),
    ]
    settling = a_row("two", {1: 105.0, 2: 100.0, 4: 150.0, 8: 150.0})
    assert crossover(one, settling) == [(1, "two float32", ())]


@pytest.mark.parametrize(("p90", "apart"), [(0.94, True), (1.0, False)])
def test_a_few_slow_calls_leave_it_open(p90, apart):
    speeds = Speed(1, False, 0.7, 0.8, p90, 9), Speed(1, False, 0.95, 1.0, 1.05, 9)
    assert speeds[0].beats(speeds[1]) is apart
    assert not speeds[1].beats(speeds[0])


def test_a_lead_of_less_than_a_tenth_is_noise_of_one_call():
    assert not Speed(1, False, 1.0, 1.0, 1.0, 1).beats(Speed(1, False, 1.05, 1.05, 1.05, 1))
    assert Speed(1, False, 1.0, 1.0, 1.0, 1).beats(Speed(1, False, 1.2, 1.2, 1.2, 1))
