"""Where tuning begins: with what the experiment says, or with what suits its annotations where it says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from csc_data.config.experiment import Experiment, adjust_settings
from csc_data.errors import CscError
from csc_data.fingerprint import take_fingerprint
from csc_data.splits.split_file import SplitRow
from csc_submit.settings import ProcessSettings
from csc_submit.suggesting import suggest_processing

SECTION = ("threshold", "smoothing_nm", "opening_nm", "fill_holes", "min_voxels", "min_size_nm3", "steps")
"""The settings that make a section on post-processing."""


def starting_settings(
    source: object, settings: ProcessSettings, rows: Sequence[SplitRow], classes: Sequence[str]
) -> tuple[ProcessSettings, tuple[str, ...]]:
    """Return the settings to begin with, and what to say of them.

    Parameters
    ----------
    source : object
        The experiment, whose names tell whether it says anything; settings made in code stay as they are.
    settings : ProcessSettings
        What it says.
    rows : sequence of SplitRow
        The crops that train are looked at.
    classes : sequence of str
        Those to be tuned.
    """
    if not isinstance(source, Experiment) or any(name in source.names for name in SECTION):
        return settings, ()
    trained = {name for row in rows if row.usage == "train" for name in row.classes}
    wanted = [name for name in classes if name in trained and name in settings.class_table.instances]
    nothing = f"{source.path} says nothing of post-processing"
    if not wanted:
        return settings, (f"{nothing}: compared with a threshold of 0.5",)
    try:
        fingerprint = take_fingerprint(rows, wanted, table=settings.class_table)
    except CscError as error:
        return settings, (f"{nothing}: compared with a threshold of 0.5, as nothing can be suggested ({error})",)
    suggested = suggest_processing(fingerprint.of(wanted), fingerprint.native_voxel_size)
    choices: dict[str, Any] = {choice.name: choice.value for choice in suggested}
    return adjust_settings(settings, **choices), (f"{nothing}: compared with what `csc plan` suggests",)
