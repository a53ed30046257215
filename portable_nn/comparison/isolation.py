"""A process of its own for each measurement, so that no library's threads, memory or crash reaches the next.

The two processes share a folder: ``network.safetensors``, ``images.npy`` and ``task.json`` go in;
``finding.json`` and an ``.npy`` file for each array come out. The measuring process writes one line on stdout
for each step; what libraries print goes to stderr.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from threading import Event, Timer

import numpy as np

from portable_nn.comparison.measuring import Finding, Task, find
from portable_nn.comparison.records import Measured, rebuilt
from portable_nn.formats import load
from portable_nn.network import Network

__all__ = ["find_apart", "main"]

ARRAYS = "outputs", "labels", "changes"
PROGRAM = "from portable_nn.comparison.isolation import main; main()"


def find_apart(folder: Path, task: Task, time_limit: float, progress: Callable[[str], object]) -> Finding:
    """Run `portable_nn.comparison.measuring.find` in a process of its own, and survive whatever happens to it.

    Parameters
    ----------
    folder : Path
        With ``network.safetensors`` and ``images.npy``; findings of an earlier task are replaced.
    task : Task
    time_limit : float
        Seconds after which the process is killed.
    progress : callable
        Called before each step with a phrase that says what is being done.

    Returns
    -------
    Finding
    """
    finding = folder / "finding.json"
    finding.unlink(missing_ok=True)
    (folder / "task.json").write_text(json.dumps(asdict(task)))
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    step = "starting"
    late = Event()
    with (
        (folder / "stderr").open("w+b") as stderr,
        subprocess.Popen(  # noqa: S603 (this package on this interpreter)
            [sys.executable, "-c", PROGRAM, str(folder)],
            env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):

        def stop() -> None:
            late.set()
            process.kill()

        timer = Timer(time_limit, stop)
        timer.start()
        try:
            for line in process.stdout or ():
                step = line.strip()
                progress(step)
            status = process.wait()
        finally:
            timer.cancel()
            process.kill()
        if late.is_set():
            return Finding("failed", f"no result within {time_limit:g} s: it hung while {step}, and was killed")
        if status or not finding.exists():
            stderr.seek(0)
            return Finding(
                "failed", f"the process died while {step}: {_death(status)}{_last_words(stderr.read())}"
            )
    return _read(folder)


def main() -> None:
    """The measuring process: read the folder, measure, leave the finding there."""
    folder = Path(sys.argv[1])
    steps = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    task = rebuilt(Task, json.loads((folder / "task.json").read_text()))
    images = np.load(folder / "images.npy", mmap_mode="r")
    net = Network(load(folder / "network.safetensors").layers, compiled=task.compiled)
    found = find(net, images, task, lambda step: print(step, file=steps, flush=True))
    for name in ARRAYS:
        (folder / f"{name}.npy").unlink(missing_ok=True)
        array = getattr(found, name)
        if array is not None:
            np.save(folder / f"{name}.npy", array)
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
