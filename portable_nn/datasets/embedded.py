"""The files that come with the package."""

from pathlib import Path

__all__ = ["embedded"]


def embedded(name: str) -> Path:
    """Return the path of the embedded file `name`."""
    return Path(__file__).parent / "data" / name
