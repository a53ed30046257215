"""Timings, by a clock that goes as told."""

import numpy as np
import pytest
from helpers import run_python
from hypothesis import given
from hypothesis import strategies as st

from portable_nn.comparison.timing import measure

DURATIONS = st.lists(st.floats(1e-6, 10), min_size=1, max_size=50)


class Clock:
    """Time passes only while the measured function is called: each call takes the next of the durations."""

    def __init__(self, durations):
        self.durations = iter(durations)
        self.now = 0.0
        self.calls = 0

    def __call__(self):
        return self.now

    def call(self):
        self.calls += 1
        self.now += next(self.durations)


@given(DURATIONS)
def test_percentiles_are_those_of_numpy(durations):
    clock = Clock(durations)
    timing = measure(clock.call, warm_up=0, iterations=len(durations), clock=clock)
    assert timing.iterations == len(durations)
    np.testing.assert_allclose(timing.median, np.median(durations), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(timing.p10, np.quantile(durations, 0.1), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(timing.p90, np.quantile(durations, 0.9), rtol=1e-6, atol=1e-12)


def test_warm_up_is_not_counted():
    clock = Clock([100.0, 100.0, 1.0, 1.0, 1.0])
    timing = measure(clock.call, warm_up=2, iterations=3, clock=clock)
    assert (timing.median, timing.p90) == (1.0, 1.0)
    assert clock.calls == 5


@pytest.mark.parametrize(("each", "calls"), [(0.1, 4), (10.0, 1), (1e-9, 1000)])
def test_the_budget_ends_the_calls_but_for_one(each, calls):
    clock = Clock([each] * 2000)
    assert measure(clock.call, warm_up=0, budget=0.35, clock=clock).iterations == calls


def test_a_slow_warm_up_is_cut_short():
    clock = Clock([10.0] * 10)
    measure(clock.call, warm_up=5, budget=1.0, clock=clock)
    assert clock.calls == 2


GROWTH = """
import numpy as np
from portable_nn.comparison.timing import peak_memory

before = peak_memory()
held = np.ones(before // 4)  # eight bytes each: twice as much as before
print(peak_memory() - before > held.nbytes / 2)
"""


def test_peak_memory_grows_with_what_is_held():
    """In a process of its own, whose peak is small."""
    assert run_python("-c", GROWTH) == "True\n"
