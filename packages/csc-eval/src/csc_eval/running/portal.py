"""What the portal would say of a submission as a whole, where that is not what is scored here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from csc_data.storage.limits import MAX_UNCOMPRESSED_SIZE
from csc_data.storage.stores.places import FolderStore, Store
from csc_eval.causes import CAUSES, ENDED, REFUSES

MASK_SUFFIX = "_mask"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedIn:
    """What was handed in: its path, and the folders in it that were read whole."""

    path: Path
    scored: tuple[str, ...]


def portal_notes(
    submission: Store, crops: Mapping[str, Sequence[str]], ignored: Sequence[str], handed_in: HandedIn | None
) -> tuple[str, ...]:
    """Return what the portal, or its tool, does otherwise with a submission, and what to do about it.

    Parameters
    ----------
    submission : Store
    crops : mapping of str to sequence of str
        The crops of the truth, and the masks of each.
    ignored : sequence of str
        What the submission holds beyond the truth.
    handed_in : HandedIn, optional
        None for a store.
    """
    notes = [] if handed_in is None else list(_notes_of_layout(submission, handed_in, tuple(crops)))
    if any(f"{crop}/{mask}" in ignored for crop, masks in crops.items() for mask in masks):
        notes.append(CAUSES["submitted_mask"].what)
    return tuple(notes)


def _notes_of_layout(submission: Store, handed_in: HandedIn, crops: Sequence[str]) -> Iterator[str]:
    from csc_eval.validating.labels import fault_of_crop
    from csc_eval.validating.layout import look_through

    archive = None if isinstance(submission, FolderStore) else Path(str(getattr(submission, "path", handed_in.path)))
    max_size = int(getattr(submission, "max_size", MAX_UNCOMPRESSED_SIZE))
    # What is read here all the same, such as a zip with __MACOSX/x.zarr in it, has no score there.
    layout = look_through(archive or handed_in.path, crops, max_size=max_size)
    for finding in layout.findings:
        if finding.cause.verdict == "refused":
            yield f"{REFUSES}: it {finding.problem.what}; {finding.cause.remedy}"
    for crop, place in layout.crops.items():
        fault = fault_of_crop(submission, place)
        if fault:
            yield f"{crop} {CAUSES[fault].what}: {ENDED}"
    if archive is None:
        return
    from csc_data.storage.stores.zips import ZipStore  # zipfile, which folders do without

    damage = submission.find_damage(handed_in.scored) if isinstance(submission, ZipStore) else None
    if damage is not None:
        yield f"{REFUSES}: it {CAUSES['damaged_zip'].what} ({damage}); {CAUSES['damaged_zip'].remedy}"
    folder = archive.with_suffix(".zarr")
    if folder.is_dir() and not is_unpacked_from(folder, archive):
        yield (
            f"the official tool takes the folder {folder.name} beside the zip for what the zip holds, and scores "
            "that: remove it, or pack again; what you upload is not affected"
        )


def is_unpacked_from(folder: Path, archive: Path) -> bool:
    """Tell whether a folder holds what a zip holds: its files, of the same sizes, none of them newer than the zip.

    That is so where `csc pack-results` has made both.
    """
    import zipfile

    newest = archive.stat().st_mtime
    try:
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                if member.is_dir():
                    continue
                found = (folder / member.filename).stat()
                if found.st_size != member.file_size or found.st_mtime > newest:
                    return False
    except (OSError, zipfile.BadZipFile):
        return False
    return True
