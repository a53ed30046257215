"""Worker processes that stay alive and answer calls: one line of JSON each way."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = [
    "ONE_THREAD",
    "ROOT",
    "MissingModuleError",
    "Worker",
    "WorkerError",
    "excused",
    "hold_to_one_thread",
    "unforced",
]

ROOT = Path(__file__).parents[1]

ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
"""The environment that holds every library to one thread."""


FORCING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Variables that force a kernel on the BLAS of NumPy: measured is what the library chooses by itself."""


def unforced(**changes: str) -> dict[str, str]:
    """The environment without what forces a kernel, and with changes."""
    return {name: value for name, value in os.environ.items() if name not in FORCING} | changes


def hold_to_one_thread(libraries: Container[str]) -> None:
    """Hold those of the libraries to one thread that the environment cannot hold, before they are imported."""
    if "torch" in libraries:
        import torch

        torch.set_num_threads(1)
    by_cores = "jax" in libraries or "onnxruntime" in libraries  # threads are as many as the cores that are seen
    if by_cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


class WorkerError(Exception):
    """What went wrong in a worker."""


class MissingModuleError(WorkerError):
    """A worker needs a library that is not installed."""


def excused(function: Callable[[], Any], needs: Mapping[str, str]) -> dict[str, Any]:
    """The result of what a contender does, or what went wrong: the others go on without it.

    Parameters
    ----------
    function : callable
    needs : mapping
        From modules that must be there to what to pip install for them.
    """
    try:
        return {"state": "ready", "result": function()}
    except MissingModuleError as error:
        return {"state": "missing", "reason": f"pip install {needs.get(str(error), str(error))}"}
    except WorkerError as error:
        return {"state": "failed", "reason": str(error)}


class Worker:
    """A process that runs the functions of a module, when they are called and not before.

    Parameters
    ----------
    module : str
        With a function ``functions(**arguments)`` that gives the functions by name. What they take and give
        must be JSON.
    environment : mapping
        Variables beside those of this process.
    arguments : keywords
    """

    def __init__(self, module: str, environment: dict[str, str] | None = None, **arguments: Any) -> None:
        self._complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115, it lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.serving", module, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            cwd=ROOT,
            env=unforced(**(environment or {})),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def ready(self) -> Any:
        """Wait until the module is set up; WorkerError says why it cannot be."""
        return self._answer()

    def call(self, function: str, **arguments: Any) -> Any:
        """The result of a function of a ready worker."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the process has ended, and its answer says so
            self._process.stdin.write(json.dumps([function, arguments]) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Let the process end, which it does when nothing more can come."""
        with suppress(BrokenPipeError):
            self._process.communicate()
        self._complaints.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._complaints.seek(0)
            last = self._complaints.read().strip().rpartition("\n")[2]
            raise WorkerError(last or f"the process ended with status {self._process.wait()}")
        answer = json.loads(line)
        if "missing" in answer:
            raise MissingModuleError(answer["missing"])
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["result"]
