"""What can be wrong with a submission, and what the portal does then: the one list that scoring and validating share.

The portal is the official scorer as of 2026-06-30 (commit 6b9ad68).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from csc_data.errors import QuestionableDataError

Verdict = Literal["accepted", "missing", "ends", "refused"]
"""What the portal does: scores it, counts it as missing, ends without a result, or refuses the submission unread."""

VERDICTS: tuple[Verdict, ...] = ("accepted", "missing", "ends", "refused")
"""From the mildest to the worst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One thing that can be wrong.

    Attributes
    ----------
    name : str
    verdict : {"accepted", "missing", "ends", "refused"}
        What the portal does with what it befalls.
    what : str
        What is found.
    remedy : str
        What to do about it.
    harmful : bool
        Whether what was handed in is not scored as it was meant.
    """

    name: str
    verdict: Verdict
    what: str
    remedy: str
    harmful: bool


def _cause(verdict: Verdict, name: str, what: str, remedy: str, *, harmful: bool | None = None) -> Cause:
    return Cause(
        name=name,
        verdict=verdict,
        what=what,
        remedy=remedy,
        harmful=verdict != "accepted" if harmful is None else harmful,
    )


FIX = "`csc validate --fix` mends it"
FIX_BY_PACKING = "pack it again, with `csc pack-results`"

_ALL = (
    # The submission as a whole.
    _cause("refused", "not_a_zip", "is neither a zip nor a zarr folder", "pack it again, with `csc pack-results`"),
    _cause("refused", "unsafe_zip", "is a zip that cannot be trusted", "pack it again, with `csc pack-results`"),
    _cause(
        "accepted",
        "dotted_name",
        "holds a path with '..' in it: it is not read here, and the portal may score it all the same",
        FIX_BY_PACKING,
        harmful=True,
    ),
    _cause("refused", "damaged_zip", "is a zip of which a part cannot be unpacked", "pack it again"),
    _cause("refused", "zip_names", "is a zip whose names no folder takes", "pack it again, with `csc pack-results`"),
    _cause("refused", "zip_called_zarr", "is a zip whose own name ends in .zarr", "name it .zip"),
    _cause("refused", "root_metadata", "has damaged metadata at its root (.zgroup)", "write .zgroup again"),
    _cause(
        "refused", "too_large", "unpacks to more than the portal takes", "store it in coarser voxels, or compressed"
    ),
    _cause("refused", "several_zips", "holds several zips", "name one of them"),
    _cause("refused", "several_zarrs", "holds several *.zarr folders", "leave one of them"),
    _cause("refused", "macosx_zarr", "holds a second *.zarr in __MACOSX, which Finder adds", FIX),
    _cause("refused", "nested_zip", "holds a zip, which is not unpacked", FIX),
    _cause("refused", "deeper", "has its crops in a folder further down that is not a *.zarr", FIX),
    _cause("refused", "no_crops", "holds no test crop", "name the crops' folders crop557 and so on, at the root"),
    _cause(
        "refused",
        "name_taken",
        "names crops without 'crop', and a file has the name that the portal would give one",
        "name the crops' folders crop557 and so on",
    ),
    _cause("accepted", "bare_ids", "names its crops without 'crop'; the portal renames them", FIX),
    _cause("accepted", "macosx", "holds __MACOSX, which is ignored", FIX),
    _cause("accepted", "stray_file", "is a stray file, which is ignored", FIX),
    _cause("accepted", "surplus", "is not scored, and ignored", "leave it out"),
    # A crop.
    _cause("missing", "missing_crop", "is missing", "its classes score 0", harmful=False),
    _cause("missing", "crop_name", "is not the name of a crop where others have right names", FIX),
    _cause("ends", "crop_metadata", "has a .zgroup that the portal does not read", "write .zgroup again"),
    _cause("ends", "crop_is_array", "is an array, not a folder of classes", "put arrays into crop folders, by class"),
    # A label that is not found.
    _cause("missing", "missing_label", "is missing", "it scores 0", harmful=False),
    _cause("missing", "label_name", "is not the name of a class", FIX),
    _cause("missing", "group", "the portal counts a label that is a group of arrays as missing", FIX),
    _cause("missing", "format3", "is zarr format 3, of which the portal sees nothing", FIX),
    _cause("missing", "n5", "is N5, of which the portal sees nothing", "store it as zarr format 2"),
    _cause("missing", "no_metadata", "has no .zarray", "write the array again"),
    # A label that cannot be read.
    _cause("ends", "damaged_metadata", "has damaged metadata", "write the array again"),
    _cause("ends", "damaged_chunk", "has a damaged chunk", "write the array again"),
    _cause("ends", "unreadable", "cannot be read", "write the array again"),
    _cause(
        "accepted",
        "questionable",
        "is not as zarr has it, and is not read here; the portal may score it all the same",
        "write the array again",
        harmful=True,
    ),
    _cause("ends", "axes", "does not have three axes (z, y, x)", "store one array a class and crop"),
    _cause("ends", "dtype", "does not hold numbers", "store unsigned integers"),
    _cause(
        "ends",
        "big_endian_ids",
        "holds ids in big-endian order, which the portal does not take where its truth has no mask",
        FIX,
    ),
    _cause("ends", "wrong_place", "says a voxel size or translation that is not three lengths in nm", FIX),
    _cause(
        "ends",
        "too_many_voxels",
        "has more than 16^3 times the crop's voxels",
        "store it nearer to the crop's voxel size",
    ),
    # Where a label lies.
    _cause("accepted", "no_voxel_size", "has no voxel_size; it is taken to be the crop's", FIX),
    _cause("accepted", "no_translation", "has no translation; it is taken to begin where the crop does", FIX),
    _cause(
        "accepted",
        "centred",
        "has no voxel_size and another shape: it is cut or padded about its centre",
        "give voxel_size and translation",
        harmful=True,
    ),
    _cause(
        "accepted",
        "voxel_size",
        "has another voxel size than the crop and is resampled",
        "`csc pack-results` brings it onto the crop's grid",
    ),
    _cause(
        "accepted",
        "shape",
        "has another shape than the crop: it is cut, and padded with 0",
        "`csc pack-results` brings it onto the crop's grid",
        harmful=True,
    ),
    _cause(
        "accepted",
        "translation",
        "begins elsewhere than the crop and is shifted",
        "`csc pack-results` brings it onto the crop's grid",
        harmful=True,
    ),
    _cause(
        "accepted",
        "elsewhere",
        "lies outside the crop: all of it counts as 0",
        "correct its translation (nm, z, y, x)",
        harmful=True,
    ),
    _cause("accepted", "shape_attribute", "says another shape than its array has, which the portal ignores", FIX),
    # What a label holds.
    _cause(
        "accepted",
        "probabilities",
        "holds probabilities: every voxel above 0 counts",
        "threshold them (`csc process`), and store labels",
        harmful=True,
    ),
    _cause("accepted", "float_labels", "holds whole numbers as floats", FIX),
    _cause("accepted", "big_endian", "holds big-endian numbers", FIX),
    _cause("accepted", "negative", "holds numbers below 0", "ids are whole numbers from 1", harmful=True),
    _cause("accepted", "not_a_number", "holds NaN or infinite values", "store whole numbers", harmful=True),
    _cause("accepted", "large_ids", "the portal merges ids above 2**53 when it resamples", "number the objects from 1"),
    _cause("accepted", "empty", "is empty: all voxels are 0", "if that is not meant, look at the threshold"),
    _cause("accepted", "full", "is full: no voxel is 0", "look whether the background is 0", harmful=True),
    _cause(
        "accepted",
        "inverted",
        "covers nearly all of the crop with a class that is rare",
        "look whether foreground and background are swapped",
        harmful=True,
    ),
    _cause(
        "accepted",
        "one_id",
        "has one id for objects that do not touch; those that touch count as one",
        "number the objects, with `csc process`",
    ),
    _cause("accepted", "ids_in_mask", "holds ids, and is scored as a mask", "if it is a mask, store 0 and 1"),
    _cause(
        "accepted",
        "many_ids",
        "holds so many objects that crops of it may not be scored at all",
        "remove small objects, with `csc process`",
        harmful=True,
    ),
    _cause(
        "accepted",
        "no_fill",
        "lacks chunks and has no fill value: the portal takes what happens to be in memory",
        "give a fill_value of 0",
        harmful=True,
    ),
    _cause(
        "accepted",
        "too_large_resampled",
        "becomes so large at the crop's voxel size that the portal's memory may not suffice",
        "store it nearer to the crop's voxel size",
        harmful=True,
    ),
    _cause("accepted", "missing_chunks", "lacks chunks, which count as 0", "if that is not meant, write it again"),
    # What only a score meets.
    _cause(
        "accepted",
        "ties",
        "several matchings are equally good, and the portal's solver takes one of them",
        "`pip install csc-eval[portal]` asks that solver",
    ),
    _cause(
        "ends",
        "submitted_mask",
        "the portal's run ends at a submitted *_mask array where its truth has that mask, without a result",
        "leave it out",
    ),
)

CAUSES: Mapping[str, Cause] = MappingProxyType({cause.name: cause for cause in _ALL})
"""All causes by name."""

ENDED = "the portal's run would have ended here, without a result"
"""What is said of a label whose cause ends the portal's run."""

UNSURE = "the portal may score it all the same"
"""What is said of a label that is not read here, for reasons that others need not have."""

REFUSES = "the portal refuses it"

LARGE_RESAMPLED = 64 * 1024**3
"""Bytes of a resampled prediction, at 8 a voxel, that the portal may not have."""


def said_of(error: Exception) -> str:
    """Return what the portal makes of a label that cannot be read here.

    Parameters
    ----------
    error : Exception
        That it ended with.

    Examples
    --------
    >>> said_of(ValueError("no such chunk")) == ENDED, said_of(MemoryError()) == UNSURE
    (True, True)
    """
    if isinstance(error, MemoryError | QuestionableDataError):
        return UNSURE
    if type(error).__name__ == "DamagedArchiveError":  # its module brings zipfile, which folders do without
        return f"{REFUSES}: it {CAUSES['damaged_zip'].what}"
    return ENDED


def worst(verdicts: list[Verdict]) -> Verdict:
    """Return the worst of some verdicts.

    >>> worst(["accepted", "ends", "missing"])
    'ends'
    """
    return max(verdicts, key=VERDICTS.index, default="accepted")
