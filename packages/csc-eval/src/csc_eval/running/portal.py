"""What the portal would say of a submission as a whole, where that is not what is scored here."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from csc_data.storage.stores.places import Store
from csc_data.storage.stores.zips import ZipStore
from csc_eval.causes import CAUSES
from csc_eval.validating.layout import look_through

MASK_SUFFIX = "_mask"


def portal_notes(submission: Store, crops: Sequence[str], ignored: Sequence[str]) -> tuple[str, ...]:
    """Return what the portal, or its tool, does otherwise with a submission, and what to do about it.

    Parameters
    ----------
    submission : Store
    crops : sequence of str
        The crops of the truth.
    ignored : sequence of str
        What the submission holds beyond the truth.
    """
    notes = []
    if isinstance(submission, ZipStore):
        # What is read here all the same, such as a zip with __MACOSX/x.zarr in it, has no score there.
        path = Path(submission.path)
        layout = look_through(path, crops, max_size=submission.max_size)
        refused = [finding for finding in layout.findings if finding.cause.verdict == "refused"]
        notes += [f"the portal refuses it: it {one.problem.what}; {one.cause.remedy}" for one in refused]
        folder = path.with_suffix(".zarr")
        if folder.exists() and not is_unpacked_from(folder, path):
            notes.append(
                f"the official tool takes the folder {folder.name} beside the zip for what the zip holds, and scores "
                "that: remove it, or pack again; what you upload is not affected"
            )
    if any(entry.endswith(MASK_SUFFIX) and entry.split("/")[0] in crops for entry in ignored):
        notes.append(CAUSES["submitted_mask"].what)
    return tuple(notes)


def is_unpacked_from(folder: Path, archive: Path) -> bool:
    """Tell whether a folder holds what a zip holds: its files, of the same sizes, none of them newer than the zip.

    That is so where `csc pack-results` has made both.
    """
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
