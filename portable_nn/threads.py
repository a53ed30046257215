"""The cores of this machine: threads of our own, and the BLAS held to one thread under each."""

import ctypes
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import cache
from multiprocessing import parent_process
from queue import SimpleQueue
from threading import Lock, Thread, current_thread, main_thread
from typing import Any, TypeVar

__all__ = [
    "ONE_THREAD",
    "VALUE",
    "blas",
    "cores",
    "given",
    "in_order",
    "is_alone",
    "not_taken",
    "of_blas",
    "with_others",
]

VALUE = 20
"""Multiply-adds that take as long as the bias and the activation of one value."""

T = TypeVar("T")
R = TypeVar("R")


def in_order(run: Callable[[T], R], parts: Iterable[T], threads: int) -> Iterator[R]:
    """Results of parts in their order, from several threads that are a few parts ahead of what is asked for."""
    pending: deque[Future[R]] = deque()
    with ONE_THREAD, ThreadPoolExecutor(threads) as pool:
        for part in parts:
            pending.append(pool.submit(run, part))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def with_others(run: Callable[[], object], threads: int) -> None:
    """Call what takes work as long as there is any: here, and in as many other threads as come in time."""
    here, elsewhere = _cores()
    contexts = deque(copy_context() for _ in range(threads - 1))
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def help_out() -> None:
        if (context := next(not_taken(contexts), None)) is None:  # it comes late
            return
        try:
            context.run(_on, elsewhere, run)
            ended.put(None)
        except BaseException as error:
            ended.put(error)

    with ONE_THREAD:
        try:
            _hand(help_out, threads - 1)
            _on(here, run)
        finally:
            late = len([*not_taken(contexts)])
            errors = [*filter(None, (ended.get() for _ in range(threads - 1 - late)))]
            if errors:
                raise errors.pop()


def not_taken(parts: deque[T]) -> Iterator[T]:
    """Those that no other thread has taken."""
    while True:
        try:
            yield parts.popleft()
        except IndexError:
            return


def _cores() -> tuple[set[int], set[int]]:
    """The core that this thread runs on, and the others that it may use; none where nothing binds threads."""
    core = _core()
    allowed = set() if core is None else os.sched_getaffinity(0)
    return ({core}, allowed - {core}) if core in allowed and len(allowed) > 1 else (set(), set())


def _on(cores: set[int], run: Callable[[], object]) -> None:
    """Call it in a thread that is bound to cores meanwhile.

    To Linux in a virtual machine, a core that was halted may look taken: it wakes a thread on the core of whoever
    wakes it, at each turn that two threads take in Python, and leaves both there.
    """
    if not cores:
        run()
        return
    allowed = os.sched_getaffinity(0)
    try:
        with suppress(OSError):
            os.sched_setaffinity(0, cores)
        run()
    finally:
        try:  # noqa: SIM105 - an interrupt would come before what suppresses it has begun
            os.sched_setaffinity(0, allowed)
        except OSError:
            pass


def _teller() -> Callable[[], int | None]:
    """What tells the core that it runs on, None where nothing does."""
    if hasattr(os, "sched_setaffinity"):
        with suppress(AttributeError, OSError):
            return ctypes.PyDLL(None).sched_getcpu
    return lambda: None


_core = _teller()


def _hand(call: Callable[[], None], times: int) -> None:
    """Let threads that wait for such calls, or the first ones that are free, make it so many times.

    Not those of a ThreadPoolExecutor: an interrupt may leave its lock taken, and the next call waits for ever.
    """
    calls, helpers = _waiting()
    with suppress(RuntimeError):  # as the process ends, or where it may start no more
        while len(helpers) < times:
            helper = Thread(target=_take, args=(calls,), name="portable_nn", daemon=True)
            helper.start()
            helpers.append(helper)
    for _ in helpers[:times]:
        calls.put(call)


def _take(calls: SimpleQueue[Callable[[], None]]) -> None:
    while True:
        calls.get()()


@cache
def _waiting() -> tuple[SimpleQueue[Callable[[], None]], list[Thread]]:
    return SimpleQueue(), []


if hasattr(os, "register_at_fork"):  # pragma: no branch: all but Windows
    os.register_at_fork(after_in_child=_waiting.cache_clear)  # where none of them is


def of_blas() -> int:
    """The threads that a call to the BLAS takes: one where threadpoolctl does not know it."""
    return max((library.num_threads for library in _libraries()), default=1)


@cache
def _libraries() -> list[Any]:
    """Each BLAS, to read and set its threads; none where threadpoolctl is not installed."""
    libraries = () if (controller := blas()) is None else controller.lib_controllers
    return [library for library in libraries if library.user_api == "blas"]


@cache
def blas() -> Any:
    """What holds the BLAS to one thread, None where threadpoolctl is not installed."""
    try:
        from threadpoolctl import ThreadpoolController
    except ModuleNotFoundError:
        return None
    return ThreadpoolController()


class _OneThread:
    """The BLAS held to one thread, which is a setting of the whole process, while anyone is inside."""

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._before: list[tuple[Any, int]] = []
        if hasattr(os, "register_at_fork"):  # pragma: no branch: all but Windows
            os.register_at_fork(
                before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._leave_parent
            )

    @property
    def is_held(self) -> bool:
        """Whether anyone is inside."""
        return self._inside > 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                libraries = _libraries()
                self._before = [(library, library.num_threads) for library in libraries]
                try:
                    for library in libraries:
                        _take_control(library)
                        library.set_num_threads(1)
                except BaseException:  # an interrupt, after which nobody is inside
                    self._restore()
                    raise
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                try:
                    self._restore()
                except BaseException:  # an interrupt amid of it
                    self._restore()
                    raise

    def _restore(self) -> None:
        for library, threads in self._before:
            _take_control(library)
            library.set_num_threads(threads)
            _take_control(library)  # for whoever comes next

    def _leave_parent(self) -> None:
        """Begin anew in the child of a fork, which has none of the threads that were inside."""
        if self._inside:
            self._inside = 0
            self._restore()
        self._lock.release()


def _take_control(library: Any) -> None:
    """Let any thread set OpenBLAS, whichever did last: threadpoolctl 3.8 heeds the first one alone."""
    if hasattr(library, "clear_controlling_thread"):
        library.clear_controlling_thread(force=True)


ONE_THREAD = _OneThread()


def given() -> int:
    """The cores that were given to who calls.

    To the main thread of a process all; one to any other thread, and to a process that another one started: there
    is a pool then, whose threads, processes or Dask workers have shared out the cores. And one while the BLAS is
    held to one thread, for whoever holds it shares them out.
    """
    return cores() if is_alone() and parent_process() is None else 1


def is_alone() -> bool:
    """Whether no thread of ours or of a pool may be beside this one, with which it would take turns in Python."""
    return current_thread() is main_thread() and not ONE_THREAD.is_held


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
