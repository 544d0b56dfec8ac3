"""One self-contained HTML page from sections of figures, tables and paragraphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from xlray.report import tables
from xlray.report.drawing import Drawing, inline_svg
from xlray.report.tables import Table
from xlray.report.warnings import headed
from xlray.templates import ECHARTS, render_template

MAX_ROWS = 300  # of a table on the page; the files hold all
PRINTED_ROWS = 30  # of a table on paper
SHOWN_LINES = 7  # of the answer below its headline; the others open on a click
FILTER_FROM = 8  # rows above which a table can be filtered
WIDE = ("tasks", "what", "status_of", "source_of", "fields")  # columns of running text


@dataclass(frozen=True)
class Paragraph:
    """Text of a section; `lead` is printed bold before it."""

    lead: str
    text: str


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        short: its title in the navigation.
        facts: (term, what it is) pairs.
        details: (summary, text) that open on a click.
    """

    id: str
    short: str
    title: str
    figures: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    paragraphs: tuple[Paragraph, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    details: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Page:
    """What stands on the page beside its figures and tables.

    Attributes:
        kind: report or comparison.
        explore: JSON of `explore.as_json`, for the section that draws it; "" for a page without that section.
    """

    kind: str
    name: str
    question: str
    answer: str
    warnings: Sequence[str]
    tags: Sequence[str]
    sections: Sequence[Section]
    footer: str
    explore: str = ""


def render(page: Page, drawings: Sequence[Drawing], made: Sequence[Table]) -> str:
    """The page as HTML. Everything in it is escaped; nothing in it is loaded from elsewhere, so ECharts is in it."""
    return render_template(
        "report.html.j2",
        {
            "show": tables.show,
            "sort_key": tables.sort_key,
            "inline_svg": lambda drawing: Markup(inline_svg(drawing)),  # made by us, its texts are escaped
            "headed": headed,
            "in_text": lambda text: Markup(str(escape(text)).replace("&#34;", '"')),  # quotes end no element
            "as_it_is": Markup,  # scripts: ECharts' own, and JSON that ends no element
        },
        **vars(page),
        echarts=ECHARTS.read_text(encoding="utf-8") if page.explore else "",
        tables={table.name: table for table in made},
        drawings={drawing.name: drawing for drawing in drawings},
        max_rows=MAX_ROWS,
        printed_rows=PRINTED_ROWS,
        filter_from=FILTER_FROM,
        shown_lines=SHOWN_LINES,
        wide=WIDE,
    )
