"""Templates of pages; whatever stands in names, paths and messages is escaped."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from csc_data.errors import import_extra
from csc_data.storage.atomic import replace_text

EXTRA = "csc-eval[report]"


def check_report_support() -> None:
    """Raise a clear error, before any work, if pages cannot be made.

    Raises
    ------
    csc_data.errors.MissingPackageError
        If a library of the extra is not installed.
    """
    for module in ("jinja2", "PIL.Image"):
        import_extra(module, "the report", EXTRA)


def render_page(
    template: str, target: str | os.PathLike[str], values: Mapping[str, Any], *, packages: Sequence[str] = ()
) -> Path:
    """Fill a template and write the page.

    Parameters
    ----------
    template : str
        Its file name.
    target : path-like
        The page; an existing one is replaced, folders above it are made.
    values : mapping
        What the template names.
    packages : sequence of str
        Names of packages whose ``templates`` folder is looked into as well; they extend ``base.html``.

    Raises
    ------
    csc_data.errors.MissingPackageError
        If a library of the extra is not installed.
    """
    check_report_support()
    page = Path(target)
    page.parent.mkdir(parents=True, exist_ok=True)
    replace_text(page, _environment(tuple(packages)).get_template(template).render(values))
    return page


@cache
def _environment(packages: tuple[str, ...]) -> Any:
    import jinja2

    loaders = [jinja2.PackageLoader(package) for package in (*packages, "csc_eval.report")]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,  # a misspelt name is an error, not an empty place
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["score"] = format_score
    return environment


def format_score(value: float | None) -> str:
    """Write a score with four digits, a dash for none.

    >>> format_score(0.5), format_score(float("nan")), format_score(None)
    ('0.5000', '-', '-')
    """
    return "-" if value is None or value != value else f"{value:.4f}"
