"""What the cells of the site show."""

from base64 import b64encode
from collections.abc import Callable
from html import escape
from typing import Any

from matplotlib.figure import Figure

from portable_nn.report.style import svg


class Shown:
    """A figure of `portable_nn.report.pictures`, on the paper that the reader has chosen.

    Parameters
    ----------
    draw : callable
        A function of that module.
    *data
        What it draws.
    alt : str
        The same in words.
    """

    def __init__(self, draw: Callable[..., Figure], *data: Any, alt: str) -> None:
        self.papers = {name: svg(draw(*data, dark=name == "dark")) for name in ("light", "dark")}
        self.alt = alt

    def _repr_html_(self) -> str:
        return "".join(
            f'<img class="only-{name} figure" alt="{escape(self.alt)}" '
            f'src="data:image/svg+xml;base64,{b64encode(drawn.encode()).decode()}">'
            for name, drawn in self.papers.items()
        )
