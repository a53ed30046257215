"""The machine and the versions that figures belong to."""

import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.processes import Worker
from portable_nn.threads import cores

__all__ = ["environment", "functions", "of_workers"]

PACKAGES = (
    "numpy",
    "array-api-compat",
    "threadpoolctl",
    "torch",
    "jax",
    "onnxruntime",
    "openvino",
    "scikit-learn",
    "keras",
    "cupy-cuda12x",
    "cupy-cuda13x",
)


def functions() -> dict[str, Callable[..., Any]]:
    """The call that `of_workers` makes, for `Worker`."""
    return {"environment": environment}


def of_workers() -> dict[str, Any]:
    """The environment as a measuring process finds it, whose BLAS is not forced to a kernel."""
    with Worker("benchmarks.environment") as worker:
        worker.ready()
        return worker.call("environment")  # type: ignore[no-any-return]


def environment() -> dict[str, object]:
    """Date, processor, cores, memory, system, and versions of what is installed."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "processor": _named("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": cores(),
        "memory": _named("/proc/meminfo", "MemTotal"),
        "system": platform.system(),
        "BLAS of NumPy": blas(),
        "versions": {"python": platform.python_version(), "portable_nn": _ours()} | _installed(),
    }


def blas() -> str:
    """The library under NumPy's products, and the kernels it chose."""
    try:
        from threadpoolctl import threadpool_info
    except ModuleNotFoundError:
        return "unknown: pip install threadpoolctl"
    import numpy  # noqa: F401 (what is not loaded is not found)

    found = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return ", ".join(f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}" for pool in found)


def _ours() -> str:
    import portable_nn

    return portable_nn.__version__


def _installed() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _named(path: str, name: str) -> str:
    """The value of the first line of that name, "" where there is no such file."""
    if not Path(path).exists():
        return ""
    lines = Path(path).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
