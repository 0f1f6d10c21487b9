"""Import what an extra of the package brings, or say which extra that is."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from csc_models.errors import MissingExtraError

_MODULES = {"encoders": "timm"}
"""What an extra brings where that has another name."""


def is_installed(extra: str) -> bool:
    """Tell whether an extra for networks is installed; nothing is imported for it.

    Examples
    --------
    >>> is_installed("no_such_package")
    False
    """
    return find_spec(_MODULES.get(extra, extra)) is not None


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
