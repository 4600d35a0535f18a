"""A page to draw on, and how pictures look.

Needs the extra `plot` (matplotlib), which is imported when something is drawn. Pictures are readable in grey and for
the colour-blind: curves differ in dash and weight as well as in colour (Okabe and Ito's), and what matters is named in
place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plateau_rule.controller.errors import PlateauError
from plateau_rule.controller.extras import how_to_install

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1.5, 2)), (0, (1, 1)), (0, (8, 3)), (0, (3, 3)))
MARKS = "^sDovP*"
INK = "#222222"


class PlotError(PlateauError):
    """A picture that cannot be drawn or written."""


def drawable(path: str | Path) -> Path:
    """Say at once, before anything is read, whether a picture can be drawn into a file.

    Raises PlotError where its name ends in something else than .png or .svg, its folder is missing, or matplotlib is.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise PlotError(f"{path}: pictures are written as PNG or SVG; name a file that ends in .png or .svg")
    if not path.parent.is_dir():
        raise PlotError(f"{path}: there is no folder {path.parent}. Make it first")
    try:
        import matplotlib.figure  # noqa: F401  # whether it is there
    except ImportError:
        raise PlotError(f"Drawing needs matplotlib, which is not installed. {how_to_install('matplotlib')}") from None
    return path


@contextmanager
def page(path: str | Path, size: tuple[float, float]) -> Iterator[Figure]:
    """An empty figure to draw into; what is on it at the end is written.

    path: ends in .png or .svg. size: width and height in inches. Raises PlotError where matplotlib is missing, or the
    picture cannot be written.
    """
    path = drawable(path)
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "plateau", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=size, layout="constrained", dpi=120)
        yield figure
        _settle(figure)
        try:
            # No date in the file: the same run gives the same picture, byte for byte.
            figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
        except OSError as error:
            raise PlotError(f"{path}: cannot be written: {error.strerror or error}") from None


def _settle(figure: Figure) -> None:
    """Lay the panels out once, and round where they stand: the solver's last digits differ from run to run."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for ax in figure.axes:
        left, bottom, width, height = (round(edge, 4) for edge in ax.get_position().bounds)
        ax.set_position((left, bottom, width, height))
