"""Clients of Dask clusters: of one that is there, or of workers that are started on this machine."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any

from portable_nn.errors import BackendError, ClusterError, InputError
from portable_nn.threads import cores

__all__ = ["LOCAL_WORKERS", "check_client", "connected", "dashboard"]

LOCAL_WORKERS: dict[str, int | str] = {
    "OMP_NUM_THREADS": 1,
    "MKL_NUM_THREADS": 1,
    "OPENBLAS_NUM_THREADS": 1,
    "MALLOC_TOP_PAD_": 2**26,
    "DASK_LOGGING__DISTRIBUTED": "critical",
    "PYTHONWARNINGS": "ignore",
}
"""The environment of workers that are started here.

Dask's own would have memory given back to the system at once, to be taken again for each block; and a worker that
is stopped amid a block would warn of it on the terminal, and so would each that sees what the client has seen.
"""


@contextmanager
def connected(scheduler: str) -> Iterator[Any]:
    """A client of a scheduler, or of a new one with workers on this machine.

    Parameters
    ----------
    scheduler : str
        An address such as ``tcp://host:8786``; ``local`` or ``local:4`` for so many workers here.

    Yields
    ------
    distributed.Client

    Raises
    ------
    BackendError
        If `distributed` is not installed.
    ClusterError
        If nothing answers at the address, or it is none, or no workers can be started here.
    """
    _check_installed()
    import dask
    import distributed

    kind, _, number = scheduler.partition(":")
    if kind != "local":
        try:
            distributed.comm.get_address_host_port(scheduler)  # of what is no address, a client makes a noise
            if kind == "tls" and not distributed.Security().get_connection_args("client").get("ssl_context"):
                raise ValueError("Dask's settings under distributed.comm.tls name no certificates")
            client = distributed.Client(scheduler, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ClusterError(f"there is no scheduler at {scheduler}: {error}") from error
        with client:
            yield client
        return
    if number and not (number.isdecimal() and int(number)):
        raise ClusterError(f"local workers are counted, local:4 for instance, got {scheduler}")
    with ExitStack() as stack:
        stack.callback(_restore, os.environ.copy())  # where workers' own is left behind
        with dask.config.set({"distributed.nanny.pre-spawn-environ": LOCAL_WORKERS}), _out_of_reach():
            cluster = _started(int(number or cores()))
        stack.enter_context(cluster)
        client = stack.enter_context(distributed.Client(cluster, set_as_default=False))
        try:
            yield client
        except KeyboardInterrupt:
            stack.pop_all()  # workers end with this process, sooner than they would be closed
            raise


def _restore(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _started(workers: int) -> Any:
    import distributed

    try:
        return distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address=":0"
        )
    except Exception as error:  # whatever the system refuses, in the words of distributed
        raise ClusterError(f"no workers can be started on this machine: {error}") from error


@contextmanager
def _out_of_reach() -> Iterator[None]:
    """Threads and processes that start meanwhile never see Ctrl-C, which a terminal sends to all; this does."""
    if sys.platform == "win32":  # pragma: no cover: Windows
        yield
        return
    os.environ["PYTHONWARNINGS"] = "ignore"  # for what tracks semaphores, and would warn of what a kill leaves
    resource_tracker.ensure_running()  # whose own start would let interrupts through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def check_client(client: Any) -> None:
    """Raise an error unless it is a client that can be waited for."""
    _check_installed()
    import distributed

    if not isinstance(client, distributed.Client):
        raise InputError(f"client must be a distributed.Client, got {type(client).__name__}")
    if client.asynchronous:
        raise InputError(
            "the client is asynchronous, and results are waited for: give distributed.Client(address)"
        )


def _check_installed() -> None:
    try:
        import distributed  # noqa: F401
    except ModuleNotFoundError:
        raise BackendError("a cluster needs distributed: pip install 'dask[array,distributed]'") from None


def dashboard(client: Any) -> str:
    """The address of Dask's dashboard, "" where it has none."""
    with suppress(Exception):  # it is made by a template in Dask's settings, which may name what is not here
        return client.dashboard_link or ""
    return ""
