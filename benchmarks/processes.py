"""Worker processes that stay alive and answer calls: one line of JSON each way."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["ONE_THREAD", "MissingModuleError", "Worker", "WorkerError"]

ROOT = Path(__file__).parents[1]

ONE_THREAD = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
"""The environment that holds every library to one thread."""


class WorkerError(Exception):
    """What went wrong in a worker."""


class MissingModuleError(WorkerError):
    """A worker needs a library that is not installed."""


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
            env=os.environ | (environment or {}),
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
        self._process.stdin.write(json.dumps([function, arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Let the process end, which it does when nothing more can come."""
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
