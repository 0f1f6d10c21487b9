"""What a person has to say about a model that is published: who made it, under which license, how to cite it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Author:
    """Somebody who made the model.

    Attributes
    ----------
    name : str
    affiliation, orcid, github_user : str, optional
        The ORCID as ``0000-0001-2345-6789``.
    """

    name: str
    affiliation: str | None = None
    orcid: str | None = None
    github_user: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Citation:
    """What users of the model should cite; a DOI or an address is needed.

    Attributes
    ----------
    text : str
        For people.
    doi, url : str, optional
    """

    text: str
    doi: str | None = None
    url: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PackageDetails:
    """What a BioImage.IO package says beside what the checkpoint knows.

    Attributes
    ----------
    name : str
        5 to 128 letters, digits, spaces, and ``_+-()``.
    authors : tuple of Author
        At least one; a name stands for an author.
    license : str
        An SPDX identifier, such as ``"CC-BY-4.0"`` or ``"MIT"``.
    cite : tuple of Citation
        At least one; a DOI, or an address, stands for a citation.
    description : str
        A sentence or two; from the checkpoint if empty.
    documentation : str
        Markdown with a section "Validation" that says how good the model is and how that was measured; a page with what
        the checkpoint knows if empty.
    tags : tuple of str
        For search, beside those that follow from the model.
    version : str, optional
        Of the model.
    activation : {"sigmoid", "none"}
        What tools do with the output: probabilities, or nothing for networks that give distances.
    raw_type : {"uint8", "uint16"}
        Type of the raw data; the ends of its range are what `raw_range` of the checkpoint speaks of.
    halo : int, optional
        Voxels at each border of an output that tools cut off when they work in tiles. If not given, half the receptive
        field, rounded up to the step of sizes, at most 32; nothing for networks that cut their borders themselves.
    with_onnx : bool
        Add the weights as ONNX beside TorchScript (extra ``[onnx]``).
    """

    name: str
    authors: Sequence[Author | str]
    license: str
    cite: Sequence[Citation | str]
    description: str = ""
    documentation: str = ""
    tags: tuple[str, ...] = ()
    version: str | None = None
    activation: Literal["sigmoid", "none"] = "sigmoid"
    raw_type: Literal["uint8", "uint16"] = "uint8"
    halo: int | None = None
    with_onnx: bool = False

    def __post_init__(self) -> None:
        """Make authors and citations of text."""
        authors, cite = ((given,) if isinstance(given, str) else given for given in (self.authors, self.cite))
        object.__setattr__(self, "authors", tuple(Author(name=a) if isinstance(a, str) else a for a in authors))
        object.__setattr__(self, "cite", tuple(_citation(c) if isinstance(c, str) else c for c in cite))


def _citation(text: str) -> Citation:
    return Citation(text=text, url=text) if "://" in text else Citation(text=text, doi=text)
