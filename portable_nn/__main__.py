"""The entry of ``portable-nn`` and ``python -m portable_nn``."""

import sys


def main() -> None:
    """Run the command line, or say what it needs to run."""
    try:
        from portable_nn import cli
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich"):
            raise
        sys.stderr.write(
            f"portable-nn: the command line needs {error.name}, which is not installed: "
            'pip install "portable-nn[cli]"\n'
        )
        sys.exit(2)
    cli.main()


if __name__ == "__main__":
    main()
