"""Templates of pages; whatever stands in names, paths and messages is escaped."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from csc_data.errors import InvalidArgumentError, import_extra
from csc_data.storage.atomic import replace_text
from csc_data.storage.room import check_writable

EXTRA = "csc-eval[report]"


def check_report(target: str | os.PathLike[str]) -> None:
    """Raise a clear error, before any work, if a page cannot be made.

    Raises
    ------
    csc_data.errors.MissingPackageError
        If a library of the extra is not installed.
    InvalidArgumentError
        If the page cannot be written there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check_report(f"{folder}/report.html")
    ...     try:
    ...         check_report(folder)
    ...     except InvalidArgumentError as error:
    ...         print(str(error).partition(" is a ")[2])
    folder; name the file that the report is to be, such as report.html
    """
    for module in ("jinja2", "PIL.Image"):
        import_extra(module, "the report", EXTRA)
    page = Path(target)
    if page.is_dir():
        raise InvalidArgumentError(f"{page} is a folder; name the file that the report is to be, such as report.html")
    check_writable(page.parent)


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
    csc_data.errors.MissingPackageError, InvalidArgumentError
        As `check_report` does.
    """
    check_report(target)
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
