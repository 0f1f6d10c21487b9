"""Where the crops of a submission lie, as the portal looks for them, and what keeps it from finding them."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from csc_data.errors import QuestionableDataError, UnreadableDataError
from csc_data.formats.reading import parse_metadata
from csc_data.storage.stores.places import FolderStore, Store, join_key
from csc_data.storage.stores.submissions import zips_in
from csc_data.storage.stores.zips import DOTTED, UnsafeArchiveError, ZipStore
from csc_eval.validating.findings import Finding, found
from csc_eval.voxels.arrays import LIMITS, find_node

FINDER = "__MACOSX"
_ZARR_FILES = {".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json"}
_DEPTH = 6
_LONGEST_NAME = 255


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
        zips = zips_in(path)
        if len(zips) > 1:
            return _refused("several_zips", ".", ", ".join(file.name for file in zips))
        path = zips[0] if zips else path
    if not path.is_dir():
        fault = _fault_of_zip(path, max_size)
        if fault:
            return Layout(store=None, crops={}, findings=fault)
    entries = list(_walk(path) if path.is_dir() else _names_in(path))
    prefix, findings = _find_zarr(entries)
    if prefix is None:
        return Layout(store=None, crops={}, findings=findings)
    store = _open(path, prefix, max_size)
    if not _is_root(store):
        return _refused("root_metadata", ".")
    above = f"{prefix}/" if prefix else ""
    inside = [entry[len(above) :] for entry in entries if entry.startswith(above) and entry != above]
    return _find_crops(store, inside, crops, findings)


def _refused(name: str, where: str, detail: str = "") -> Layout:
    return Layout(store=None, crops={}, findings=(found(name, where, detail),))


def _fault_of_zip(path: Path, max_size: int) -> tuple[Finding, ...]:
    if not path.is_file():
        return (found("not_a_zip", ".", "it is a pipe or a device"),)
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
            size = sum(member.file_size for member in file.infolist())
        if size > max_size:
            return (found("too_large", ".", f"{size} bytes, at most {max_size}"),)
        ZipStore(path, max_size=max_size).close()
        if path.with_suffix(".zarr") == path:
            return (found("zip_called_zarr", "."),)
        long = [name for name in names if any(len(part.encode()) > _LONGEST_NAME for part in name.split("/"))]
        folders = {parent.as_posix() for name in names for parent in PurePosixPath(name).parents}
        both = [name for name in names if not name.endswith("/") and PurePosixPath(name).as_posix() in folders]
        if long or both:
            return (found("zip_names", ".", [*long, *both][0][:80]),)
    except UnsafeArchiveError as error:
        dotted = all(problem.what == DOTTED for problem in error.problems)
        cause = "dotted_name" if dotted else "unsafe_zip"
        return tuple(found(cause, problem.where, problem.what) for problem in error.problems)
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
        arrays = [name for name in folders if inside.parts and os.path.isfile(os.path.join(place, name, ".zarray"))]  # noqa: PTH113, PTH118
        yield from ((inside / name).as_posix() + "/" for name in arrays)
        folders[:] = [name for name in folders if name not in arrays]  # which may hold chunks by the thousand
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
    *above, _ = (outer + labels)[0].rstrip("/").split("/") if outer or labels else [""]
    held = {
        entry[len(zarr) :].split("/")[0] for zarr in (*outer, *labels) for entry in entries if entry.startswith(zarr)
    }
    if above and above[0] in held:  # the portal removes what is to be replaced, and with it what is to replace it
        return None, (found("several_zarrs", (outer + labels)[0], f"it holds {above[0]}, in which it lies"),)
    if outer and not outer[0].endswith("/"):
        return None, (found("several_zarrs", outer[0], "a file, not a folder"),)
    prefix = outer[0].rstrip("/") if outer else ""
    crops = [entry for entry in entries if re.fullmatch(r"(crop)?\d+/", entry)]
    if prefix and crops and not any(re.match(rf"{re.escape(prefix)}/(crop)?\d+/", entry) for entry in entries):
        return "", ()  # its content joins what lies at the root
    return prefix, ()


def _is_root(store: Store) -> bool:
    """Tell whether zarr 2 opens a folder: as a group, or as an array, which does no harm."""
    if not store.has(".zarray"):
        return is_group_metadata(store, "")
    try:
        node = find_node(store, "")
        return node is not None and parse_metadata(node, limits=LIMITS) is not None
    except UnreadableDataError:
        return False


def is_group_metadata(store: Store, key: str) -> bool:
    """Tell whether zarr 2 reads the ``.zgroup`` of a folder, or there is none.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from csc_data.storage.stores.places import open_place
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, ".zgroup").write_text('{"zarr_format": 3}')
    ...     is_group_metadata(open_place(folder), "")
    False
    """
    try:
        content = store.read(join_key(key, ".zgroup"), LIMITS.metadata_bytes)
        document = {"zarr_format": 2} if content is None else json.loads(content.decode("utf-8"))
    except QuestionableDataError:  # zarr does not see a folder of that name
        return True
    except (UnreadableDataError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get("zarr_format") == 2


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
        taken = [f"crop{name}" for name in folders if f"crop{name}" in files]
        if taken:
            return _refused("name_taken", taken[0])
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
