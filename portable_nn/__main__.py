"""The entry of ``portable-nn`` and ``python -m portable_nn``.

Nothing is imported before an interrupt is provided for: it may come while modules load.
"""

import os
import signal
import sys

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}  # 128 and the signal's number, as shells have it
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class StopError(KeyboardInterrupt):
    """A signal that asks to stop: what is being written is closed."""


def stop(number: int, _: object) -> None:
    """Stop a command."""
    raise StopError(signal.Signals(number))


def leave(number: int, _: object) -> None:
    """Stop while modules load, some of which would swallow an exception: there is nothing to close yet."""
    sys.stderr.write(f"portable-nn: {WORDS[signal.Signals(number)]}\n")
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
        sys.stderr.write(f"portable-nn: {WORDS[number]}{''.join(more)}\n")
        status = STATUS[number]
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich"):
            raise
        sys.stderr.write(
            f"portable-nn: the command line needs {error.name}, which is not installed: "
            'pip install "portable-nn[cli]"\n'
        )
        status = 2
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    sys.exit(status)


if __name__ == "__main__":
    main()
