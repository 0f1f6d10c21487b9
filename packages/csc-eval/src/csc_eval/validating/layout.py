"""Where the crops of a submission lie, as the portal looks for them, and what keeps it from finding them."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from csc_data.errors import UnreadableDataError
from csc_data.storage.stores.places import FolderStore, Store
from csc_data.storage.stores.zips import UnsafeArchiveError, ZipStore
from csc_eval.validating.findings import Finding, found

FINDER = "__MACOSX"
_ZARR_FILES = {".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json"}
_DEPTH = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A submission that was looked through.

    Attributes
    ----------
    store : Store or None
        Its files, crops at the root; None where nothing of it is read.
    crops : mapping of str to str
        Name of a test crop to its folder.
    findings : tuple of Finding
    """

    store: Store | None
    crops: Mapping[str, str]
    findings: tuple[Finding, ...]


def look_through(path: Path, crops: Sequence[str], *, max_size: int) -> Layout:
    """Find the crops of a submission.

    Parameters
    ----------
    path : Path
        A zip or a folder.
    crops : sequence of str
        The names of the test crops.
    max_size : int
        Bytes that a zip may declare to unpack to.
    """
    if path.is_dir():
        zips = sorted(file for file in path.iterdir() if file.is_file() and zipfile.is_zipfile(file))
        if len(zips) > 1:
            return _refused("several_zips", ".", ", ".join(file.name for file in zips))
        path = zips[0] if zips else path
    if path.is_file():
        fault = _fault_of_zip(path, max_size)
        if fault:
            return Layout(store=None, crops={}, findings=fault)
    entries = list(_walk(path) if path.is_dir() else _names_in(path))
    prefix, findings = _find_zarr(entries)
    if prefix is None:
        return Layout(store=None, crops={}, findings=findings)
    store = _open(path, prefix, max_size)
    above = f"{prefix}/" if prefix else ""
    inside = [entry[len(above) :] for entry in entries if entry.startswith(above) and entry != above]
    return _find_crops(store, inside, crops, findings)


def _refused(name: str, where: str, detail: str = "") -> Layout:
    return Layout(store=None, crops={}, findings=(found(name, where, detail),))


def _fault_of_zip(path: Path, max_size: int) -> tuple[Finding, ...]:
    try:
        with zipfile.ZipFile(path) as file:
            size = sum(member.file_size for member in file.infolist())
        if size > max_size:
            return (found("too_large", ".", f"{size} bytes, at most {max_size}"),)
        ZipStore(path, max_size=max_size).close()
    except UnsafeArchiveError as error:
        return tuple(found("unsafe_zip", problem.where, problem.what) for problem in error.problems)
    except (UnreadableDataError, zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        return (found("not_a_zip", ".", str(error)),)
    return ()


def _names_in(path: Path) -> Iterator[str]:
    """Yield files and folders of a zip, folders ending in a slash."""
    seen: set[str] = set()
    with zipfile.ZipFile(path) as file:
        for name in file.namelist():
            parts = PurePosixPath(name).parts
            whole = "/".join(parts)
            seen.update("/".join(parts[:depth]) + "/" for depth in range(1, len(parts)))
            seen.add(whole + "/" if name.endswith("/") else whole)
    yield from sorted(seen)


def _walk(root: Path) -> Iterator[str]:
    for place, folders, files in os.walk(root):
        inside = Path(place).relative_to(root)
        if len(inside.parts) >= 2:  # chunks of a label: many, and none of them matters here
            folders[:] = [name for name in folders if not name.isdigit()]
        folders.sort()
        if len(inside.parts) > _DEPTH:
            folders.clear()
        yield from ((inside / name).as_posix() + "/" for name in folders)
        yield from ((inside / name).as_posix() for name in sorted(files) if not _is_chunk(name))


def _is_chunk(name: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)*", name) is not None


def _find_zarr(entries: Sequence[str]) -> tuple[str | None, tuple[Finding, ...]]:
    """Return the one *.zarr folder that the portal moves to the root ("" if there is none), or what it refuses."""
    zarrs = [entry for entry in entries if entry.rstrip("/").endswith(".zarr")]
    real = [entry for entry in zarrs if not entry.startswith(f"{FINDER}/")]
    # A label called mito.zarr is one of these to the portal, too, which takes it apart.
    labels = [entry for entry in real if re.search(r"(^|/)(crop)?\d+/[^/]+\.zarr/$", entry)]
    outer = [entry for entry in real if entry not in labels]
    if len(zarrs) > len(real) and (real or len(zarrs) > 1):
        return None, (found("macosx_zarr", ".", ", ".join(zarrs[:4])),)
    if len(outer) + len(labels) > 1:
        return None, (found("several_zarrs", ".", ", ".join(real[:4])),)
    if len(zarrs) > len(real):
        return None, (found("macosx_zarr", ".", zarrs[0]),)
    if outer and not outer[0].endswith("/"):
        return None, (found("several_zarrs", outer[0], "a file, not a folder"),)
    return (outer[0].rstrip("/") if outer else ""), ()


def _open(path: Path, prefix: str, max_size: int) -> Store:
    return FolderStore(path / prefix) if path.is_dir() else ZipStore(path, prefix=prefix, max_size=max_size)


def _find_crops(store: Store, entries: Sequence[str], crops: Sequence[str], before: tuple[Finding, ...]) -> Layout:
    """Find crops among the folders at the root; `557` stands for `crop557` when no folder has a right name."""
    findings = list(before)
    folders = [entry.rstrip("/") for entry in entries if entry.endswith("/") and "/" not in entry[:-1]]
    files = [entry for entry in entries if "/" not in entry]
    places = {crop: crop for crop in crops if crop in folders}
    bare = {f"crop{name}": name for name in folders if f"crop{name}" in crops}
    if not places and bare:
        places = bare
        findings.append(found("bare_ids", ".", ", ".join(sorted(bare.values()))))
    elif places:
        findings += [found("crop_name", name) for crop, name in bare.items() if crop not in places]
    if not places:
        findings.append(_why_none(entries, folders, files, crops))
        return Layout(store=None, crops={}, findings=tuple(findings))
    for name in folders:
        if name == FINDER:
            findings.append(found("macosx", name))
        elif name not in places.values() and f"crop{name}" not in crops:
            findings.append(found("surplus", name))
    findings += [found("stray_file", name) for name in files if name not in _ZARR_FILES]
    return Layout(store=store, crops=places, findings=tuple(findings))


def _why_none(entries: Sequence[str], folders: Sequence[str], files: Sequence[str], crops: Sequence[str]) -> Finding:
    zips = [name for name in entries if name.lower().endswith(".zip") and not name.startswith(FINDER)]
    if zips:
        return found("nested_zip", zips[0])
    known = {*crops, *(crop.removeprefix("crop") for crop in crops)}
    for entry in entries:
        *above, name = entry.rstrip("/").split("/")
        if entry.endswith("/") and above and name in known and above[0] not in (FINDER, *known):
            return found("deeper", "/".join(above))
    held = ", ".join([*folders, *files][:5])
    return found("no_crops", ".", f"it holds {held or 'nothing'}")
