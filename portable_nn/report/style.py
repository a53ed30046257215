"""The look of all pictures, on light and on dark paper, and how they are written."""

import os
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib import style
from matplotlib.figure import Figure

from portable_nn.errors import FormatError
from portable_nn.writing import write

__all__ = ["check_suffix", "paper", "save", "svg"]


def paper(dark: bool) -> AbstractContextManager[None]:
    """What is drawn meanwhile has the look of ``common.mplstyle`` and of ``light`` or ``dark``."""
    here = Path(__file__).parent
    return style.context([here / "common.mplstyle", here / f"{'dark' if dark else 'light'}.mplstyle"])


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG or SVG, as the suffix of the path says.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : str or path-like

    Raises
    ------
    FormatError
        If the suffix is another.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from portable_nn.report import pictures
    >>> from portable_nn.report.style import save
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "activations.svg")
    ...     save(pictures.activations(), path)
    ...     path.read_text().count("<svg ")
    1
    """
    write(path, svg(figure).encode() if check_suffix(path) == ".svg" else _png(figure))


def check_suffix(path: str | os.PathLike[str]) -> str:
    """The suffix of a picture's path; a FormatError if it is neither .png nor .svg."""
    suffix = Path(path).suffix.lower()
    if suffix not in (".png", ".svg"):
        raise FormatError(f"pictures are .png or .svg, got {str(path)!r}: choose one of these")
    return suffix


def svg(figure: Figure) -> str:
    """A figure as SVG."""
    return _drawn(figure, format="svg").decode()


def _png(figure: Figure) -> bytes:
    return _drawn(figure, format="png", dpi=144)


def _drawn(figure: Figure, **how: Any) -> bytes:
    file = BytesIO()
    figure.savefig(file, facecolor=figure.get_facecolor(), **how)
    return file.getvalue()
