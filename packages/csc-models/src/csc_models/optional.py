"""Import what an extra of the package brings, or say which extra that is."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from csc_models.errors import ModelError


class MissingExtraError(ModelError, ImportError):
    """A part of this package needs another one that is not installed.

    Parameters
    ----------
    purpose : str
        What was to be done, such as ``"reading net.safetensors"``.
    module : str
        The module that is missing.
    extra : str
        The extra of csc-models that brings it.
    """

    def __init__(self, purpose: str, module: str, extra: str) -> None:
        self.purpose = purpose
        self.module = module
        self.extra = extra
        super().__init__(f'{purpose} needs {module}: pip install "csc-models[{extra}]"')

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str, str]]:
        return type(self), (self.purpose, self.module, self.extra)


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
        raise MissingExtraError(purpose, module, extra) from error
