"""A process of its own for each measurement, so that no library's threads, memory or crash reaches the next.

The two processes share a folder: ``network.safetensors``, ``images0.npy``, with a number for each input of the
network, and ``task.json`` go in; ``finding.json`` and an ``.npy`` file for each array come out. The measuring
process writes one line to ``steps`` for each step; what libraries print goes to ``stderr``. All are files, for a
pipe would stay open as long as anything that the process has started holds it.

The measuring process searches modules where this one does, but for the current folder, where a file may bear the
name of any library. A caller's own backend is looked for there too, after all other places. This package comes
from where it came from here.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import TextIO

import numpy as np

from portable_nn import backends
from portable_nn.comparison.measuring import Finding, Task, find
from portable_nn.comparison.records import Measured, rebuilt
from portable_nn.formats import load

__all__ = ["find_apart", "main"]

ARRAYS = "outputs", "labels", "changes"
POLL = 0.1  # seconds
PACKAGE = Path(__file__).parents[1]

PROGRAM = """
import sys
from importlib.util import module_from_spec, spec_from_file_location

spec = spec_from_file_location("portable_nn", sys.argv[1])
sys.modules["portable_nn"] = module_from_spec(spec)
spec.loader.exec_module(sys.modules["portable_nn"])

from portable_nn.comparison.isolation import main

main(sys.argv[2])
"""


def find_apart(folder: Path, task: Task, time_limit: float, progress: Callable[[str], object]) -> Finding:
    """Run `portable_nn.comparison.measuring.find` in a process of its own, and survive whatever happens to it.

    Parameters
    ----------
    folder : Path
        With ``network.safetensors`` and ``images0.npy``, …; findings of an earlier task are replaced.
    task : Task
    time_limit : float
        Seconds after which the process is killed, and what it has started.
    progress : callable
        Called before each step with a phrase that says what is being done.

    Returns
    -------
    Finding
    """
    finding = folder / "finding.json"
    finding.unlink(missing_ok=True)
    (folder / "task.json").write_text(json.dumps(asdict(task)))
    with (folder / "steps").open("w+") as steps, (folder / "stderr").open("w+b") as stderr:
        process = subprocess.Popen(  # noqa: S603 (this package on this interpreter)
            [sys.executable, "-P", "-c", PROGRAM, str(PACKAGE / "__init__.py"), str(folder)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(_search_path())},
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            status, step = _watched(process, steps, time_limit, progress)
        finally:
            _kill(process)
        if status is None:
            return Finding("failed", f"no result within {time_limit:g} s: it hung while {step}, and was killed")
        if status or not finding.exists():
            stderr.seek(0)
            return Finding(
                "failed", f"the process died while {step}: {_death(status)}{_last_words(stderr.read())}"
            )
    return _read(folder)


def _search_path() -> list[str]:
    """Where this process searches modules, but for the current folder."""
    here = os.path.realpath(".")
    return [os.path.abspath(entry) for entry in sys.path if os.path.realpath(entry) != here]


def _watched(
    process: subprocess.Popen[bytes], steps: TextIO, time_limit: float, progress: Callable[[str], object]
) -> tuple[int | None, str]:
    """The exit status of a process, None once its time is up; and the last step that it took."""
    deadline, step = monotonic() + time_limit, "starting"
    while True:
        try:
            status = process.wait(POLL)
        except subprocess.TimeoutExpired:
            status = None
        for line in steps:
            step = line.strip()
            progress(step)
        if status is not None or monotonic() > deadline:
            return status, step


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it has started, but for what has made itself independent."""
    if sys.platform == "win32":  # pragma: no cover: Windows
        process.kill()
    else:
        with suppress(ProcessLookupError):  # nothing is left
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main(name: str) -> None:
    """The measuring process: read the folder of that name, measure, leave the finding there."""
    folder = Path(name)
    task = rebuilt(Task, json.loads((folder / "task.json").read_text()))
    if backends.is_own(str(task.backend)):
        sys.path.append(os.getcwd())
    net = load(folder / "network.safetensors", verify=False)
    names = net.passes.inputs if len(net.passes.inputs) > 1 else [""]
    given = {name: np.load(folder / f"images{i}.npy", mmap_mode="r") for i, name in enumerate(names)}
    images = given if len(given) > 1 else given[""]
    net = net.compile() if task.compiled else net
    with (folder / "steps").open("a") as steps:
        found = find(net, images, task, lambda step: print(step, file=steps, flush=True))
    for array_name in ARRAYS:
        file = folder / f"{array_name}.npy"
        file.unlink(missing_ok=True)
        array = getattr(found, array_name)
        if array is not None:
            np.save(file, array)
    measured = None if found.measured is None else asdict(found.measured)
    (folder / "finding.json").write_text(
        json.dumps({"state": found.state, "reason": found.reason, "measured": measured})
    )


def _read(folder: Path) -> Finding:
    found = json.loads((folder / "finding.json").read_text())
    arrays = {name: np.load(path) for name in ARRAYS if (path := folder / f"{name}.npy").exists()}
    measured = None if found["measured"] is None else rebuilt(Measured, found["measured"])
    return Finding(found["state"], found["reason"], measured, **arrays)


def _death(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _last_words(stderr: bytes) -> str:
    lines = stderr.decode(errors="replace").strip().splitlines()
    return f" ({lines[-1]})" if lines else ""
