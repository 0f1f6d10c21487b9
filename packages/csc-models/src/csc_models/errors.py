"""The errors of csc-models, one hierarchy.

ModelError
├── UnknownModelError        no model of that name
├── ModelArgumentError       an argument that the model does not take, or with an impossible value
├── InputShapeError          an input that the network cannot take
├── InputTypeError           an input of whole numbers
├── MissingExtraError        a network of a library that is not installed
├── PlugInError              a network of another package that cannot be used
├── UnknownWeightsError      no published weights of that name
├── DownloadError            published weights could not be fetched
├── ExportError              a network that another program cannot take
└── CheckpointError          a checkpoint that cannot be used
├── CheckpointNotFoundError
├── CheckpointReadError        truncated, or no checkpoint at all
└── CheckpointMismatchError    weights of another network
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ModelError(Exception):
    """Root of all errors that csc-models raises on purpose."""


class UnknownModelError(ModelError, LookupError):
    """There is no model of the given name.

    Parameters
    ----------
    name : str
        The name that was asked for.
    known : iterable of str
        The names that exist.
    """

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = tuple(sorted(known))
        super().__init__(
            f"there is no model {name!r}{nearest(name, self.known)}; the models are: {', '.join(self.known)}"
        )

    def __reduce__(self) -> tuple[type[UnknownModelError], tuple[str, tuple[str, ...]]]:
        # Exceptions are rebuilt from args when they cross a process border; ours take two.
        return type(self), (self.name, self.known)


class ModelArgumentError(ModelError, ValueError):
    """A model was given an argument that it does not take, or a value that it cannot work with."""


class InputShapeError(ModelError, ValueError):
    """A network was given an input of a shape that it cannot take; the text names one that it can."""


class InputTypeError(ModelError, TypeError):
    """A network was given whole numbers, such as raw data as they are stored; the text says what to do."""


class MissingExtraError(ModelError, ImportError):
    """A library that a network comes from is not installed; the text has the command that installs it."""


class PlugInError(ModelError, ImportError):
    """A package brings a network that cannot be imported, is of no use, or has the name of another package's."""


class UnknownWeightsError(ModelError, LookupError):
    """There are no published weights of the given name.

    Parameters
    ----------
    name : str
        The name that was asked for.
    known : iterable of str
        The names that exist.
    """

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = tuple(known)
        super().__init__(
            f"there are no published weights {name!r}{nearest(name, self.known)}; there are: {', '.join(self.known)}"
        )

    def __reduce__(self) -> tuple[type[UnknownWeightsError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.name, self.known)


class DownloadError(ModelError, OSError):
    """Published weights could not be fetched; the text names the address, and where to put the file by hand."""


class ExportError(ModelError):
    """A network cannot be exported to a format, or the exported file does not give the network's outputs."""


class CheckpointError(ModelError):
    """A checkpoint cannot be written or used."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """The checkpoint file is not there."""


class CheckpointReadError(CheckpointError, OSError):
    """The file is truncated, or is not a checkpoint."""


class CheckpointMismatchError(CheckpointError, ValueError):
    """The weights in a file are not those of the network.

    Parameters
    ----------
    source : str
        Where the weights come from, for people.
    missing : iterable of str
        Keys that the network has and the file lacks.
    surplus : iterable of str
        Keys that the file has and the network lacks.
    reshaped : iterable of str
        Keys that both have, with shapes: ``"outc.conv.bias: (3,) in the file, (2,) in the network"``.
    """

    def __init__(self, source: str, missing: Iterable[str], surplus: Iterable[str], reshaped: Iterable[str]) -> None:
        self.source = source
        self.missing = tuple(missing)
        self.surplus = tuple(surplus)
        self.reshaped = tuple(reshaped)
        findings = (("missing", self.missing), ("surplus", self.surplus), ("of another shape", self.reshaped))
        text = "; ".join(f"{len(keys)} {what}: {_some(keys)}" for what, keys in findings if keys)
        super().__init__(f"{source}: the weights do not fit the network: {text}")

    def __reduce__(self) -> tuple[type[CheckpointMismatchError], tuple[object, ...]]:
        return type(self), (self.source, self.missing, self.surplus, self.reshaped)


def nearest(word: str, known: Iterable[str]) -> str:
    """Hint at the known word that is nearest to a misspelt one.

    Examples
    --------
    >>> nearest("n_clases", ["n_classes", "n_channels"])
    " (did you mean 'n_classes'?)"
    >>> nearest("zebra", ["n_classes"])
    ''
    """
    found = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {found[0]!r}?)" if found else ""


def _some(keys: tuple[str, ...], limit: int = 6) -> str:
    """Name the first keys, and how many more there are."""
    rest = len(keys) - limit
    return ", ".join(keys[:limit]) + (f" and {rest} more" if rest > 0 else "")
