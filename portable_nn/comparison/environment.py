"""What a measurement ran on: the machine, the versions of everything, the thread settings."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from portable_nn.threads import cores

__all__ = ["Environment", "environment", "thread_pools"]

PACKAGES = (
    "portable-nn", "numpy", "array-api-compat", "safetensors", "threadpoolctl",
    "torch", "cupy-cuda12x", "cupy-cuda13x", "jax", "jaxlib", "dask",
    "dpnp", "dpctl", "array-api-strict", "ndonnx",
)  # fmt: skip
SETTINGS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "CUDA_VISIBLE_DEVICES", "NVIDIA_TF32_OVERRIDE", "CUPY_TF32", "XLA_FLAGS", "JAX_PLATFORMS", "JAX_ENABLE_X64",
    "ONEAPI_DEVICE_SELECTOR",
)  # fmt: skip


@dataclass(frozen=True)
class Environment:
    """What a measurement ran on.

    Attributes
    ----------
    date : str
        When it was described, in UTC.
    python, platform, cpu : str
    cores : int
        Those that this process may use.
    load : float or None
        Processes that wanted a core in the last minute, None where the system does not tell.
    versions : dict of str
        Of the packages that are installed.
    settings : dict of str
        Environment variables that are set and change threads, devices or precision.
    """

    date: str
    python: str
    platform: str
    cpu: str
    cores: int
    load: float | None
    versions: dict[str, str]
    settings: dict[str, str]


def environment() -> Environment:
    """Describe the machine and the versions of everything; no library is imported for it.

    Returns
    -------
    Environment

    Examples
    --------
    >>> from portable_nn.comparison.environment import environment
    >>> sorted(environment().versions)[:2]
    ['array-api-compat', 'array-api-strict']
    """
    return Environment(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=platform.platform(),
        cpu=_cpu(),
        cores=cores(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        versions={name: version for name in PACKAGES if (version := _version(name))},
        settings={name: os.environ[name] for name in SETTINGS if name in os.environ},
    )


def thread_pools() -> tuple[str, ...]:
    """The thread pools of native libraries in this process, with their sizes; none without threadpoolctl.

    Returns
    -------
    tuple of str
    """
    try:
        from threadpoolctl import threadpool_info
    except ModuleNotFoundError:
        return ()
    return tuple(f"{pool['internal_api']} {pool['num_threads']}" for pool in threadpool_info())


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    """The processor's name, from Linux's own list where there is one."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
