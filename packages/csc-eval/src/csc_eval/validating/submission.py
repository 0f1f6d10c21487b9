"""Whether the portal takes a submission."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from csc_data.challenge.current_lists import load_test_crops
from csc_data.challenge.test_crops import select_crops
from csc_data.config.user_config import Config
from csc_data.errors import MissingDataError
from csc_data.storage.limits import MAX_UNCOMPRESSED_SIZE
from csc_data.storage.stores.zips import ZipStore
from csc_eval.validating.findings import Finding, LabelVerdict, Validation, found
from csc_eval.validating.labels import check_crop
from csc_eval.validating.layout import look_through


def validate_submission(
    submission: str | os.PathLike[str],
    *,
    config: Config | None = None,
    crops: Sequence[str] | None = None,
    max_uncompressed_size: int = MAX_UNCOMPRESSED_SIZE,
) -> Validation:
    """Tell what the portal will do with a submission; no truth is needed, and nothing is written.

    Parameters
    ----------
    submission : path-like
        A zip, which is read where it is, or a folder.
    config : csc_data.config.user_config.Config, optional
        Its data folder may bring its own list of test crops; those of the challenge by default.
    crops : sequence of str, optional
        Which test crops to look for; all by default.
    max_uncompressed_size : int
        Bytes that a zip may declare to unpack to.

    Returns
    -------
    Validation
        A verdict for the whole and for each class of each crop, and every cause with its remedy.

    Raises
    ------
    MissingDataError
        If there is no such file or folder.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.writing import create_array
    >>> from csc_eval import validate_submission
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = f"{folder}/submission.zarr"
    ...     _ = create_array(f"{place}/crop557/er", shape=(600, 600, 600), dtype="u1", chunks=(600, 600, 600))
    ...     found = validate_submission(place, crops=["557"])
    ...     print(found.ok, found.verdict, len(found.labels))
    True accepted 48
    """
    path = Path(submission)
    if not path.exists():
        raise MissingDataError(f"there is no submission {path}; `csc pack-results` makes one")
    known = load_test_crops(config)
    wanted = select_crops(known, crops)
    layout = look_through(path, [f"crop{number}" for number in known], max_size=max_uncompressed_size)
    labels: list[LabelVerdict] = []
    findings: list[Finding] = list(layout.findings)
    if layout.store is None:
        return Validation(path=path, labels=(), findings=tuple(findings))
    for crop in wanted:
        name = f"crop{crop.id}"
        if name in layout.crops:
            verdicts, faults = check_crop(layout.store, layout.crops[name], crop)
        else:
            verdicts = [LabelVerdict(crop=name, class_name=label, verdict="missing") for label in crop.classes]
            meant = any(finding.where == str(crop.id) for finding in layout.findings)
            faults = [] if meant else [found("missing_crop", name)]
        labels += verdicts
        findings += faults
    if isinstance(layout.store, ZipStore):
        sound = [f"{layout.crops[label.crop]}/{label.class_name}" for label in labels if label.verdict == "accepted"]
        damage = layout.store.find_damage(sound)
        findings += [] if damage is None else [found("damaged_zip", ".", damage)]
    return Validation(path=path, labels=tuple(labels), findings=tuple(findings))
