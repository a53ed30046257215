"""Why a ratio of the suite misses its target: the steps of the call by hand, or what XLA counts in both."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from benchmarks.processes import ONE_THREAD, Worker, excused
from benchmarks.ratios import Figure, spread
from benchmarks.steps import WHOLE
from benchmarks.targets import Ratio

__all__ = ["profile_figures", "profiles"]

COUNTED = "portable-jax-jit"
"""Whose steps nobody can time."""

PASSES = 21
SECONDS = 1
"""The most passes through the steps, and what they may take before they are fewer."""


def profiles(missed: Iterable[Ratio], tell: Callable[[str], object] = lambda _: None) -> list[dict[str, Any]]:
    """The profile of each ratio, as JSON has it."""
    return [{"what": _title(ratio), "threads": ratio.threads} | _profile(ratio, tell) for ratio in missed]


def _title(ratio: Ratio) -> str:
    return f"{ratio.pair.title}, {ratio.network} by {ratio.rows:,}"


def _profile(ratio: Ratio, tell: Callable[[str], object]) -> dict[str, Any]:
    tell(f"profile of {_title(ratio)}")
    ours = ratio.pair.ours
    environment = {"JAX_ENABLE_X64": "1"} | (ONE_THREAD if ratio.threads == "one" else {})
    passes = max(3, min(PASSES, round(SECONDS / ratio.ours)))
    given = {"network": ratio.network, "batch": ratio.batch}
    given |= {} if ours == COUNTED else {"threads": ratio.threads, "passes": passes}
    with Worker("benchmarks.steps", environment) as worker:
        worker.ready()
        found = excused(partial(worker.call, ours, **given), {})
    if found["state"] != "ready":
        return {"problem": found["reason"]}
    if ours == COUNTED:
        return {"counts": found["result"]}
    return {"steps": found["result"], "theirs": ratio.theirs * 1e3}


def profile_figures(profile: dict[str, Any]) -> list[Figure]:
    """A row for each step, and for the call of each side; or for each count and side."""
    if "counts" in profile:
        return [
            spread(f"{what} of {side}", [count])
            for side, counts in profile["counts"].items()
            for what, count in counts.items()
        ]
    if "steps" not in profile:
        return []
    steps = dict(profile["steps"])
    call = spread(f"{WHOLE}, ours", steps.pop(WHOLE), unit="ms")
    rows = [spread(step, taken, unit="ms") for step, taken in steps.items()]
    together = spread("the steps together", [sum(row.median for row in rows)], unit="ms")
    return [call, spread(f"{WHOLE}, theirs", [profile["theirs"]], unit="ms"), together, *rows]
