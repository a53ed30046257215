"""The peak of a process's anonymous memory: what it has allocated, without the pages of files it maps."""

from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

__all__ = ["AnonymousMemory", "anonymous"]

INTERVAL = 0.002
"""Seconds between two looks."""


def anonymous(pid: int) -> int | None:
    """Bytes of anonymous memory that a process has in RAM (RssAnon); None where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return None
    lines = (line.split() for line in status.read_text().splitlines())
    return next((int(words[1]) * 1024 for words in lines if words[:1] == ["RssAnon:"]), None)


class AnonymousMemory:
    """Watch a process from a thread of this one, while the block runs.

    Attributes
    ----------
    baseline, peak : int or None
        Bytes at the start, and the most that a look has found.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self.baseline = self.peak = anonymous(pid)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    @property
    def growth(self) -> int | None:
        """Bytes of the peak over the baseline."""
        return None if self.peak is None or self.baseline is None else self.peak - self.baseline

    def _watch(self) -> None:
        while not self._over.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        self.peak = max(self.peak or 0, anonymous(self._pid) or 0) if self.baseline is not None else None
