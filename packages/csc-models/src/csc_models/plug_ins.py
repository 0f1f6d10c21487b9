"""Networks that other packages bring: entry points of the group ``csc.models``, each named as its network.

Metadata of what is installed is looked at when a name is not one of ours, and a package is imported when one of its
networks is wanted, so that a package that cannot be imported is in nobody's way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import Distribution, EntryPoint, entry_points

from csc_models.errors import PlugInError
from csc_models.specification import ModelSpec

GROUP = "csc.models"


def offers(name: str | None = None) -> tuple[EntryPoint, ...]:
    """What installed packages bring under a name, or all of it.

    Examples
    --------
    >>> offers("no_such_network")
    ()
    """
    return tuple(offer for offer in entry_points(group=GROUP) if name in (None, offer.name))


def load_offer(name: str) -> ModelSpec | None:
    """Import the network of a name; None if no package brings one.

    Raises
    ------
    PlugInError
        Several packages bring it, its package cannot be imported, or what the entry point names is something else.

    Examples
    --------
    >>> load_offer("no_such_network") is None
    True
    """
    found = offers(name)
    if not found:
        return None
    if len(found) > 1:
        raise PlugInError(f"{package_of(name)} each bring a network named {name!r}; uninstall all but one")
    where = f"the network {name!r} of the package {package_of(name)} ({found[0].value})"
    try:
        spec = found[0].load()
    except Exception as error:  # whatever their modules raise
        raise PlugInError(
            f"{where} cannot be imported: {type(error).__name__}: {error}; install another version of the package"
        ) from error
    if not isinstance(spec, ModelSpec) or spec.name != name:
        raise PlugInError(f"{where} is not a csc_models.ModelSpec of that name but {spec!r}")
    return spec


def load_offers_beside(cls: type) -> Iterator[ModelSpec]:
    """Import the networks that the package of a class brings, as far as they can be."""
    package = cls.__module__.partition(".")[0]
    for offer in offers():
        if offer.module.partition(".")[0] == package:
            with suppress(PlugInError):
                spec = load_offer(offer.name)
                if spec is not None:
                    yield spec


def package_of(name: str) -> str | None:
    """Package and version that bring a network, such as ``"their-nets 1.2"``; all of them if there are several.

    Examples
    --------
    >>> package_of("no_such_network") is None
    True
    """
    packages: list[Distribution | None] = [offer.dist for offer in offers(name)]
    return " and ".join(sorted(f"{package.name} {package.version}" for package in packages if package)) or None
