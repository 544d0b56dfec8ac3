"""The templates of pages, and the one way in which they become HTML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2

ECHARTS = Path(__file__).parent / "vendor" / "echarts.min.js"  # version and licence stand beside it


def render_template(template: str, filters: dict[str, Callable[..., Any]] | None = None, /, **values: Any) -> str:
    """A template of this package with its values; these are escaped, and one that is missing is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters or {})
    return environment.get_template(template).render(**values)
