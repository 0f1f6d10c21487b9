"""Python and packages, as their metadata says; nothing is imported."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from csc_cli.commands.doctor.finding import Finding

ROOT = "csc-cli"
SHOWN = ("torch", "numpy", "zarr", "cellmap-data")
"""Of all that the packages need, what people are asked for when something goes wrong."""


def look_at_python() -> Finding:
    """Tell the version of Python, and whether the packages take it.

    Examples
    --------
    >>> finding = look_at_python()
    >>> finding.state, finding.details["version"] == platform.python_version()
    ('ok', True)
    """
    wanted = SpecifierSet(metadata(ROOT)["Requires-Python"] or "")
    here = platform.python_version()
    fits = wanted.contains(here, prereleases=True)
    return Finding(
        name="Python",
        state="ok" if fits else "missing",
        said=f"{here} in {sys.prefix}, {platform.system()} {platform.machine()}",
        remedy="" if fits else f"install Python {wanted}, and the packages anew in it",
        details={"version": here, "prefix": sys.prefix, "wanted": str(wanted), "platform": platform.platform()},
    )


def look_at_packages() -> Iterator[Finding]:
    """Tell the versions of the packages and of what they need, what is missing, and which extras are not installed."""
    needed = dict(_needed(ROOT, frozenset()))
    lacking = [requirement for requirement in needed.values() if not _fits(requirement)]
    own = {name: version_of(name) for name in needed if name.startswith("csc-")}
    own[ROOT] = version_of(ROOT)
    others = {name: version_of(name) for name in needed if name not in own}
    yield Finding(name="toolbox", said=_listed(own), details=own)
    wanted = " ".join(f'"{_plainly(requirement)}"' for requirement in lacking)
    yield Finding(
        name="libraries",
        state="missing" if lacking else "ok",
        said=(f"not as needed: {_listed({r.name: version_of(r.name) for r in lacking})}; " if lacking else "")
        + _listed({name: others.get(name) for name in SHOWN}),
        remedy=f"pip install {wanted}" if lacking else "",
        details=others,
    )
    absent = sorted(extra for name in own for extra in _absent_extras(name))
    if absent:
        yield Finding(
            name="extras", state="note", said=f"not installed: {', '.join(absent)}", details={"absent": absent}
        )


def version_of(name: str) -> str | None:
    """Return the version that is installed; None where there is none.

    Examples
    --------
    >>> version_of("no-such-package") is None
    True
    """
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _needed(name: str, extras: frozenset[str]) -> Iterator[tuple[str, Requirement]]:
    """Yield what a package of ours needs with these extras, and what those of ours need that it needs."""
    for requirement in _requirements(name, extras):
        yield requirement.name, requirement
        if requirement.name.startswith("csc-") and version_of(requirement.name) is not None:
            yield from _needed(requirement.name, frozenset(requirement.extras))


def _requirements(name: str, extras: frozenset[str]) -> list[Requirement]:
    listed = [Requirement(text) for text in requires(name) or ()]
    return [r for r in listed if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in extras or {""})]


def _absent_extras(name: str) -> Iterator[str]:
    """Yield the extras of a package that lack something."""
    base = {str(requirement) for requirement in _requirements(name, frozenset())}
    for extra in metadata(name).get_all("Provides-Extra") or ():
        brought = [r for r in _requirements(name, frozenset({extra})) if str(r) not in base]
        if not all(map(_fits, brought)):
            yield f"{name}[{extra}]"


def _fits(requirement: Requirement) -> bool:
    there = version_of(requirement.name)
    return there is not None and requirement.specifier.contains(there, prereleases=True)


def _plainly(requirement: Requirement) -> str:
    return f"{requirement.name}{requirement.specifier}"


def _listed(versions: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {found or '(not there)'}" for name, found in sorted(versions.items()))
