"""How time and memory grow with the work, and what the package itself costs."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import costs
from benchmarks.labelling import write_images
from benchmarks.memory import AnonymousMemory
from benchmarks.processes import ONE_THREAD, ROOT, Worker, excused, unforced
from benchmarks.ratios import Figure, spread

__all__ = ["FULL", "QUICK", "Extent", "figures", "measure", "step_figures"]

DISPATCH = {
    "numpy": ("a call over its bare operations, NumPy", 2.5),
    "torch": ("a call over its bare operations, PyTorch", 3),
    "infer": ("infer of one sample over net.predict of it", 15),
}
"""What is measured of a call, and how many microseconds it may take."""

MIB = 2**20
BYTES_PER_IMAGE = 784


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Attributes
    ----------
    streamed : tuple of int
        Images from a generator.
    mapped : int
        Images of a memory-mapped file.
    rounds : int
        Of the streams; the shortest is repeated in each as often as makes it last.
    imports, calls : int
        Interpreters started for each import, and rounds of calls.
    sizes : Sizes
        Of the work that `costs` measures.
    """

    streamed: tuple[int, ...]
    mapped: int
    rounds: int
    imports: int
    calls: int
    sizes: costs.Sizes


FULL = Extent((10**4, 10**5, 10**6, 10**7), 5_000_000, rounds=5, imports=25, calls=500, sizes=costs.FULL)
QUICK = Extent((10**4, 2 * 10**4), 20_000, rounds=1, imports=2, calls=5, sizes=costs.QUICK)

Tell = Callable[[str], object]


def measure(extent: Extent, tell: Tell = lambda _: None) -> dict[str, Any]:
    """All of it, as JSON has it."""
    return {
        "streamed": streams(extent, tell),
        "mapped": mapped(extent.mapped, tell),
        "dispatch": {what: dispatch(what, extent.calls, tell) for what in DISPATCH},
        "costs": costs.measure(extent.sizes, tell),
        "imports": imports(extent.imports, tell),
        "steps": steps(extent.calls // 5, tell),
    }


def streams(extent: Extent, tell: Tell) -> list[dict[str, Any]]:
    """Microseconds per image in each round, and growth of memory, for each length of a stream.

    Lengths take turns, in a process each; a length is repeated in its turn until a million images are done.
    """
    rows: dict[int, dict[str, Any]] = {
        number: {"images": number, "microseconds": [], "memory": None} for number in extent.streamed
    }
    for i in range(extent.rounds):
        for number, row in rows.items():
            tell(f"stream of {number:,} images, round {i + 1} of {extent.rounds}")
            with Worker("benchmarks.labelling") as worker:
                worker.ready()
                with AnonymousMemory(worker.pid) as memory:
                    repeats = max(1, min(10**6, max(extent.streamed)) // number)
                    seconds = median(worker.call("stream", number=number) for _ in range(repeats))
            row["microseconds"].append(seconds / number * 1e6)
            row["memory"] = _most(row["memory"], memory.growth)
    return list(rows.values())


def mapped(number: int, tell: Tell) -> dict[str, Any]:
    """The growth of memory while a file is labelled, or the reason why it was not."""
    size = number * BYTES_PER_IMAGE
    with TemporaryDirectory() as folder:
        if shutil.disk_usage(folder).free < 1.2 * size:
            return {"images": number, "problem": f"needs {1.2 * size / 1e9:.1f} GB of free disk"}
        source = Path(folder) / "images.npy"
        tell(f"write {number:,} images")
        write_images(source, number)
        with Worker("benchmarks.labelling") as worker:
            worker.ready()
            tell(f"label {number:,} memory-mapped images")
            with AnonymousMemory(worker.pid) as memory:
                seconds = worker.call("mapped", source=str(source))
    return {"images": number, "seconds": seconds, "memory": memory.growth}


def dispatch(what: str, rounds: int, tell: Tell) -> dict[str, Any]:
    """Microseconds beyond what a call is held against, in each round; what is bare runs on one thread."""
    tell(f"dispatch: {DISPATCH[what][0]}")
    with Worker("benchmarks.dispatch", {} if what == "infer" else ONE_THREAD) as worker:
        worker.ready()
        found = excused(partial(worker.call, what, rounds=rounds), {})
    return {"microseconds": found["result"]} if found["state"] == "ready" else {"problem": found["reason"]}


def steps(passes: int, tell: Tell) -> dict[str, list[float]]:
    """Milliseconds of each step of labelling the test images on one thread, in each pass."""
    tell("steps")
    with Worker("benchmarks.steps", ONE_THREAD) as worker:
        worker.ready()
        return worker.call("labelling", passes=passes)  # type: ignore[no-any-return]


def imports(number: int, tell: Tell) -> dict[str, list[float]]:
    """Seconds of imports in fresh interpreters, taking turns after one each, which leaves the bytecode of all."""
    seconds: dict[str, list[float]] = {"numpy": [], "portable_nn": []}
    with TemporaryDirectory() as bytecode:
        for i in range(number + 1):
            tell(f"import {i} of {number}")
            for module, taken in seconds.items():
                taken.append(_import_seconds(module, bytecode))
    return {module: taken[1:] for module, taken in seconds.items()}


def _import_seconds(module: str, bytecode: str) -> float:
    code = f"from time import perf_counter as now; start = now(); import {module}; print(now() - start)"
    command = [sys.executable, "-X", f"pycache_prefix={bytecode}", "-c", code]
    environment = unforced(PYTHONDONTWRITEBYTECODE="")
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    return float(done.stdout)


def _most(one: int | None, other: int | None) -> int | None:
    return max((value for value in (one, other) if value is not None), default=None)


def step_figures(found: dict[str, Any]) -> list[Figure]:
    """The time of each step."""
    return [spread(step, taken, unit="ms", threads="one") for step, taken in found["steps"].items()]


def figures(found: dict[str, Any]) -> list[Figure]:
    """The figures, those with a goal held against it."""
    shortest, longest = found["streamed"][0], found["streamed"][-1]
    rows = [
        spread(
            f"time per image, {longest['images']:,} streamed images / {shortest['images']:,}",
            [a / b for a, b in zip(longest["microseconds"], shortest["microseconds"], strict=True)],
            1.1,
        )
    ]
    memory = found["mapped"].get("memory")
    if memory is not None:
        what = f"peak anonymous memory over baseline, {found['mapped']['images']:,} memory-mapped images"
        rows.append(spread(what, [memory / MIB], 64, "MiB"))
    imported = [a / b for a, b in zip(found["imports"]["portable_nn"], found["imports"]["numpy"], strict=True)]
    rows.append(spread("import portable_nn / import numpy", imported, 1.4))
    for name, (what, at_most) in DISPATCH.items():
        if "microseconds" in found["dispatch"][name]:
            rows.append(spread(what, found["dispatch"][name]["microseconds"], at_most, "µs"))
    rows += costs.figures(found["costs"])
    for row in found["streamed"]:
        rows.append(spread(f"time per image, {row['images']:,} streamed", row["microseconds"], unit="µs"))
        if row["memory"] is not None:
            what = f"peak anonymous memory over baseline, {row['images']:,} streamed, labels returned"
            rows.append(spread(what, [row["memory"] / MIB], unit="MiB"))
    return rows
