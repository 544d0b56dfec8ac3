"""How figures look and how they are written: one style, safe for colour-blind eyes, the same bytes for the same data."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from fontTools import subset
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from xlray.analysis import Estimate
from xlray.report.tables import number

# Okabe and Ito (2008), without yellow (too pale for lines on white).
BLACK, BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE = (
    "#000000",
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
)
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
GREY = "#767676"
STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "xlray",  # ids must not depend on the run
    "pdf.fonttype": 42,
}
WIDTH = 4.6  # inches: letters stay readable on a phone, and it is one column of a paper and a half


@dataclass(frozen=True)
class Drawing:
    """A figure ready to be written.

    Attributes:
        alt: what the figure shows, in words and numbers.
        missing: what the data lack for it; then `svg` and `pdf` are empty.
    """

    name: str
    title: str
    caption: str
    alt: str
    svg: bytes = b""
    pdf: bytes = b""
    missing: str = ""

    def _repr_html_(self) -> str:
        """For notebooks: the figure with its caption, or what is missing for it."""
        title = f"<b>{html.escape(self.title)}</b>"
        if self.missing:
            return f"<p>{title} is not drawn. Missing: {html.escape(self.missing)}.</p>"
        return f"<figure>{inline_svg(self)}<figcaption>{title}. {html.escape(self.caption)}</figcaption></figure>"


class _GlyphsAlone(subset.Options):  # type: ignore[misc]
    """How a font is cut down for a PDF: without the tables from which glyphs are chosen and placed, as they are there.

    To cut them down as well takes longer than all else of a figure.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.drop_tables += ["GSUB", "GPOS", "GDEF", "MATH", "kern"]


@contextmanager
def _glyphs_alone() -> Iterator[None]:
    """While it lasts, matplotlib, which has no parameter for it, cuts fonts down so."""
    known, subset.Options = subset.Options, _GlyphsAlone
    try:
        yield
    finally:
        subset.Options = known


def draw(paint: Callable[[Figure], None], width: float, height: float) -> tuple[bytes, bytes]:
    """The painted figure as SVG and PDF; sizes in inches."""
    out = []
    with mpl.rc_context(STYLE), _glyphs_alone():
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure)
        FigureCanvasSVG(figure)
        layout = figure.get_layout_engine()
        if figure.axes and layout is not None:
            layout.execute(figure)  # once for both
        figure.set_layout_engine(None)  # with any, even a placeholder, each print draws twice
        for canvas, kind in ((FigureCanvasSVG, "svg"), (FigureCanvasPdf, "pdf")):
            buffer = io.BytesIO()
            dates: Mapping[str, Any] = {"Date": None} if kind == "svg" else {"CreationDate": None}
            canvas(figure).print_figure(buffer, format=kind, metadata=dates, dpi=150)
            out.append(buffer.getvalue())
    return out[0], out[1]


def inline_svg(drawing: Drawing) -> str:
    """The figure as an element of an HTML page: a text alternative, its own ids, nothing that leaves the page."""
    text = drawing.svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<style[^>]*>.*?</style>\s*", "", text, flags=re.DOTALL)  # its rules would hold for the whole page
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{drawing.name}-", text)
    box = re.search(r'viewBox="([^"]+)"', text)
    assert box is not None, drawing.name
    width = round(float(box[1].split()[2]) * 96 / 72)  # points to CSS pixels
    opening = (
        f'<svg viewBox="{box[1]}" role="img" aria-labelledby="{drawing.name}-alt" '
        f'style="max-width:{width}px;stroke-linejoin:round;stroke-linecap:butt">'
        f'<title id="{drawing.name}-alt">{html.escape(drawing.alt)}</title>'
    )
    return re.sub(r"<svg[^>]*>", lambda _: opening, text, count=1)


def spell(estimate: Estimate, signed: bool = False, digits: int = 1) -> str:
    """An estimate in words, for text alternatives."""
    interval = ""
    if estimate.low is not None and estimate.high is not None:
        interval = f", interval {number(estimate.low, signed, digits)} to {number(estimate.high, signed, digits)}"
    return number(estimate.value, signed, digits) + interval


def leaves_out_zero(estimate: Estimate) -> bool:
    """Whether the interval is on one side of 0."""
    return estimate.low is not None and estimate.high is not None and estimate.low * estimate.high > 0


def forest(axes: Any, place: float, estimate: Estimate, colour: str = "", marker: str = "") -> None:
    """An estimate with its interval as one line of a forest plot.

    Args:
        place: on the vertical axis.
        colour: by default blue and red where the interval is above and below 0, else grey.
        marker: by default round where the interval leaves out 0, else a diamond.
    """
    clear = leaves_out_zero(estimate)
    colour = colour or ((BLUE if estimate.value > 0 else VERMILION) if clear else GREY)
    if estimate.low is not None and estimate.high is not None:
        axes.hlines(place, estimate.low, estimate.high, color=colour, linewidth=2 if not marker else 1.3)
    axes.plot(estimate.value, place, marker or ("o" if clear else "D"), color=colour, markersize=4.5)


def signed_points(axes: Any) -> None:
    """A horizontal axis of differences, with signs."""
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: number(value, value != 0, 0 if value % 1 == 0 else 1))
    )


def log_examples(axes: Any, rungs: list[int]) -> None:
    """A logarithmic axis of examples that names the rungs."""
    axes.set_xscale("log")
    axes.set_xticks(rungs)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
