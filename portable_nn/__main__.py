"""The entry of ``portable-nn`` and ``python -m portable_nn``.

Nothing is imported before an interrupt is provided for: it may come while modules load.
"""

import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}  # 128 and the signal's number, as shells have it
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}

MISUSED = 2

REFUSALS = "failed to map segment", "Cannot allocate memory", "can't start new thread"
"""Words of the system and of Python where there is no more memory, or there may be no more threads."""


class StopError(KeyboardInterrupt):
    """A signal that asks to stop: what is being written is closed."""


def stop(number: int, frame: FrameType | None) -> None:
    """Stop a command; a second signal does it at once, and so does one while modules load.

    Some of them would swallow an exception, or end the process in their own words.
    """
    heed(leave)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            leave(number, frame)
        frame = frame.f_back
    raise StopError(signal.Signals(number))


def leave(number: int, _: object, more: str = "") -> NoReturn:
    """Say so and end, without what runs at the end of Python: nothing is lost that a kill would not lose."""
    sys.stderr.write(f"portable-nn: {WORDS[signal.Signals(number)]}{more}\n")
    sys.stderr.flush()
    os._exit(STATUS[signal.Signals(number)])


def heed(handler: object) -> None:
    """Have the signals handled, but for those that whoever started this process has ignored."""
    for number in STATUS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)  # type: ignore[arg-type]


def main() -> None:
    """Run the command line, or say what it needs to run."""
    before = {number: signal.getsignal(number) for number in STATUS}
    try:
        heed(leave)
        from portable_nn import cli

        heed(stop)
        status = cli.main()
    except StopError as error:
        number, *more = error.args
        leave(number, None, "".join(more))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich"):
            raise
        sys.stderr.write(
            f"portable-nn: the command line needs {error.name}, which is not installed: "
            'pip install "portable-nn[cli]"\n'
        )
        status = MISUSED
    except (ImportError, MemoryError, OSError, RuntimeError) as error:
        if (words := refusal(error)) is None:
            raise
        sys.stderr.write(
            f"portable-nn: {words}: more memory or threads are needed than the system gives (ulimit)\n"
        )
        sys.stderr.flush()
        os._exit(MISUSED)  # what runs at the end of Python would be refused as well
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    sys.exit(status)


def refusal(error: BaseException) -> str | None:
    """What the system said as it refused memory or a thread; None where it did not."""
    while error.__cause__ is not None:
        error = error.__cause__
    words = str(error) or type(error).__name__
    return words if isinstance(error, MemoryError) or any(sign in words for sign in REFUSALS) else None


def command() -> None:
    """The same as a whole process: once the work is done, a signal lets it end a little sooner."""
    open_streams()
    sys.unraisablehook = unraisable
    heed(leave)
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
        heed(lambda *_: os._exit(status))
        raise


def unraisable(swallowed: Any) -> None:
    """Stop where an object that is being deleted would swallow it, and say so in its own words."""
    if isinstance(swallowed.exc_value, StopError):
        leave(swallowed.exc_value.args[0], None)
    sys.__unraisablehook__(swallowed)


def open_streams() -> None:
    """Open those that are closed: a file would get their number, and whatever is said there."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


if __name__ == "__main__":
    command()
