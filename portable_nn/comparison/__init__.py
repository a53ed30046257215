"""The parts of `portable_nn.compare`: each backend measured, in a process of its own, and judged."""

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np

from portable_nn import backends
from portable_nn._typing import Array, NumPyArray
from portable_nn.activations import namespace
from portable_nn.comparison.environment import environment
from portable_nn.comparison.isolation import find_apart
from portable_nn.comparison.measuring import Finding, Task, find
from portable_nn.comparison.records import Comparison
from portable_nn.comparison.verdicts import reference, verdict
from portable_nn.formats import save
from portable_nn.network import Network

__all__ = ["Task", "run"]

Progress: TypeAlias = Callable[[str, str, int, int], object]


def run(
    tasks: Sequence[Task],
    net: Network,
    images: Array,
    labels: Array | None,
    *,
    atol: float | None,
    rtol: float,
    time_limit: float | None,
    model: str,
    progress: Progress | None,
    drop_missing: bool,
) -> Comparison:
    """Measure every task, one after the other, and judge it; the parameters are those of `compare`.

    Without a time limit everything runs in this process. With `drop_missing`, a backend that is not ready gives
    no row.
    """
    here = environment()
    net, images = net.to_numpy(), _to_numpy(images)
    wanted = reference(net, images, None if labels is None else _to_numpy(labels))
    findings = _findings(tasks, net, images, time_limit, progress)
    rows = tuple(
        verdict(task, finding, wanted, atol, rtol)
        for task, finding in zip(tasks, findings, strict=True)
        if not (drop_missing and finding.state == "not ready")
    )
    return Comparison(model, repr(net), len(images), tasks[0].batch_sizes, rows, here)


def _findings(
    tasks: Sequence[Task],
    net: Network,
    images: NumPyArray,
    time_limit: float | None,
    progress: Progress | None,
) -> list[Finding]:
    if time_limit is None:
        return [find(net, images, task, _steps(task, progress)) for task in tasks]
    with TemporaryDirectory(prefix="portable-nn-") as name:
        folder = Path(name)
        save(net, folder / "network.safetensors")
        np.save(folder / "images.npy", images)
        return [find_apart(folder, task, time_limit, _steps(task, progress)) for task in tasks]


def _steps(task: Task, progress: Progress | None) -> Callable[[str], object]:
    """A function to call before each step of a task."""
    done = count()

    def report(step: str) -> None:
        if progress is not None:
            progress(f"{task.backend} {task.dtype}", step, next(done), task.steps)

    return report


def _to_numpy(array: Array) -> NumPyArray:
    return backends.of(array, namespace(array)).to_numpy(array)
