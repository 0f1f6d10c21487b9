"""Import what an extra of the package brings, or say which extra that is."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from csc_models.errors import MissingExtraError


def import_extra(module: str, *, extra: str, purpose: str) -> Any:
    """Import a module that an extra brings.

    Parameters
    ----------
    module : str
        Dotted name.
    extra : str
        The extra of csc-models that brings it.
    purpose : str
        What it is needed for, as the beginning of a sentence.

    Returns
    -------
    module

    Raises
    ------
    MissingExtraError
        It is not installed.

    Examples
    --------
    >>> import_extra("math", extra="none", purpose="counting").pi
    3.141592653589793
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs {module}, which the extra csc-models[{extra}] brings: in a clone of the toolbox, "
            f'pip install "./packages/csc-models[{extra}]"'
        ) from error
