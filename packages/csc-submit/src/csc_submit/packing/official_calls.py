"""The official toolbox's functions for packing, with its names and arguments."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from csc_data.config.user_config import load_config
from csc_data.errors import ExistingOutputError, InvalidArgumentError, MissingDataError
from csc_data.formats.writing import create_array
from csc_submit.packing.archive import write_zip
from csc_submit.packing.fitting import CHUNKS
from csc_submit.packing.pack import pack_results
from csc_submit.packing.results import PackResult
from csc_submit.packing.writing import stored_chunks


def package_submission(
    input_search_path: str | os.PathLike[str] = "processed",
    output_path: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    max_workers: int | None = None,
) -> PackResult:
    """Pack all test crops and zip them.

    Parameters
    ----------
    input_search_path : path-like
        Where processed volumes lie, with the placeholders ``{dataset}`` and ``{crop}``; the class follows it.
    output_path : path-like, optional
        The zarr folder; its ending becomes ``.zarr``, and that of the zip beside it ``.zip``.
    overwrite : bool
        Whether to replace a submission that is there; otherwise it is completed.
    max_workers : int, optional
        Most processes; as many as there are CPUs by default.

    Returns
    -------
    PackResult
        A row a class and test crop. Those that failed say why; the official function only logs them.

    Raises
    ------
    MissingDataError
        If there is nothing to pack at all.
    ExistingOutputError
        If what is there was packed from other data.
    """
    return pack_results(
        config=load_config(),
        source=os.fspath(input_search_path),
        destination=None if output_path is None else Path(output_path).with_suffix(".zarr"),
        existing="overwrite" if overwrite else "resume",
        max_workers=max_workers or os.cpu_count() or 1,
    )


def zip_submission(zarr_path: str | os.PathLike[str] | None = None) -> Path:
    """Zip a submission again, beside it, and return the zip.

    Parameters
    ----------
    zarr_path : path-like, optional
        The zarr folder; that of the configuration by default.

    Raises
    ------
    MissingDataError
        If there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> from csc_submit import save_numpy_labels_to_zarr, zip_submission
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = f"{folder}/submission.zarr"
    ...     save_numpy_labels_to_zarr(place, "crop557", ["nuc"], np.ones((4, 4, 4), np.uint8))
    ...     zip_submission(place).name
    'submission.zip'
    """
    folder = load_config().path("submission") if zarr_path is None else Path(zarr_path)
    if not folder.is_dir():
        raise MissingDataError(f"there is no submission {folder} to zip; `csc pack-results` makes one")
    return write_zip(folder, folder.with_suffix(".zip"))


def save_numpy_class_labels_to_zarr(
    save_path: str | os.PathLike[str],
    test_volume_name: str,
    label_name: Sequence[str],
    labels: npt.NDArray[Any],
    overwrite: bool = False,
    attrs: Mapping[str, Any] | None = None,
) -> None:
    """Save an array of class numbers as one mask a class.

    Parameters
    ----------
    save_path : path-like
        The zarr folder of the submission.
    test_volume_name : str
        The crop, for example ``crop557``.
    label_name : sequence of str
        The classes of the numbers 1, 2, and so on.
    labels : array, (z, y, x)
        Class numbers, 0 for background.
    overwrite : bool
        Whether masks that are there may be replaced.
    attrs : mapping, optional
        Attributes of each mask, such as ``voxel_size`` and ``translation`` in nm.

    Raises
    ------
    InvalidArgumentError
        If it is not a volume of whole numbers, or there are other numbers than classes.
    ExistingOutputError
        If a mask is there and must not be replaced.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.reading import open_array
    >>> from csc_submit import save_numpy_class_labels_to_zarr
    >>> labels = np.zeros((4, 4, 4), np.uint8)
    >>> labels[0] = 2
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_numpy_class_labels_to_zarr(f"{folder}/submission.zarr", "crop557", ["nuc", "er"], labels)
    ...     int(open_array(f"{folder}/submission.zarr/crop557/er")[...].sum())
    16
    """
    names = [label_name] if isinstance(label_name, str) else list(label_name)
    labels = _as_volume(labels, "labels")
    if labels.dtype.kind not in "biu" or (
        labels.size and not 0 <= int(labels.min()) <= int(labels.max()) <= len(names)
    ):
        raise InvalidArgumentError(f"labels must be whole numbers from 0 to {len(names)}, one for each class")
    masks = [(labels == number).astype(np.uint8) for number in range(1, len(names) + 1)]
    mode: Literal["append", "overwrite"] = "overwrite" if overwrite else "append"
    save_numpy_class_arrays_to_zarr(save_path, test_volume_name, names, masks, mode, attrs)


def save_numpy_class_arrays_to_zarr(
    save_path: str | os.PathLike[str],
    test_volume_name: str,
    label_names: Sequence[str],
    labels: Sequence[npt.NDArray[Any]],
    mode: Literal["append", "overwrite"] = "append",
    attrs: Mapping[str, Any] | None = None,
) -> None:
    """Save a mask, or instance ids, of each class.

    Parameters
    ----------
    save_path : path-like
        The zarr folder of the submission.
    test_volume_name : str
        The crop, for example ``crop557``.
    label_names : sequence of str
        The classes.
    labels : sequence of arrays, (z, y, x)
        As many, in the same order.
    mode : {"append", "overwrite"}
        Whether arrays that are there may be replaced. Classes that are not named stay.
    attrs : mapping, optional
        Attributes of each array, such as ``voxel_size`` and ``translation`` in nm.

    Raises
    ------
    InvalidArgumentError
        If names and arrays do not go together, or the mode does not exist.
    ExistingOutputError
        If an array is there and must not be replaced.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.reading import open_array
    >>> from csc_submit import save_numpy_class_arrays_to_zarr
    >>> masks = [np.zeros((4, 4, 4), np.uint8), np.ones((4, 4, 4), np.uint8)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_numpy_class_arrays_to_zarr(f"{folder}/submission.zarr", "crop557", ["nuc", "er"], masks)
    ...     int(open_array(f"{folder}/submission.zarr/crop557/er")[...].sum())
    64
    """
    names = [label_names] if isinstance(label_names, str) else list(label_names)
    if mode not in ("append", "overwrite"):
        raise InvalidArgumentError(f"mode must be append or overwrite, got {mode!r}")
    if len(names) != len(labels):
        raise InvalidArgumentError(f"{len(names)} names for {len(labels)} arrays; give one for each")
    folder = Path(save_path) / test_volume_name
    volumes = [_as_volume(values, name) for name, values in zip(names, labels, strict=True)]
    there = [name for name in names if (folder / name).exists()]
    if there and mode == "append":  # before anything is written
        raise ExistingOutputError(f"{folder} holds {', '.join(there)} already; overwrite, or save elsewhere")
    place = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in (attrs or {}).items()}
    for name, values in zip(names, volumes, strict=True):
        stored = values.astype(np.uint8) if values.dtype == bool else values
        array = create_array(
            folder / name,
            shape=values.shape,
            dtype=stored.dtype,
            chunks=CHUNKS,
            attributes=place,
            overwrite=True,
            labels=stored.dtype.kind != "f",
        )
        array[...] = stored
        array.attrs.update(stored_chunks(folder / name))


def save_numpy_labels_to_zarr(
    submission_path: str | os.PathLike[str],
    test_volume_name: str,
    label_names: Sequence[str],
    labels: npt.NDArray[Any],
    overwrite: bool = False,
) -> None:
    """Save an array of class numbers, by the name and arguments of the official documentation.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.reading import open_array
    >>> from csc_submit import save_numpy_labels_to_zarr
    >>> labels = np.full((4, 4, 4), 2, np.uint8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_numpy_labels_to_zarr(f"{folder}/submission.zarr", "crop557", ["nuc", "er"], labels)
    ...     int(open_array(f"{folder}/submission.zarr/crop557/er")[...].sum())
    64
    """
    save_numpy_class_labels_to_zarr(submission_path, test_volume_name, label_names, labels, overwrite)


def save_numpy_binary_to_zarr(
    submission_path: str | os.PathLike[str],
    test_volume_name: str,
    label_names: Sequence[str],
    labels: Sequence[npt.NDArray[Any]],
    overwrite: bool = False,
) -> None:
    """Save a mask, or ids, of each class, by the name and arguments of the official documentation.

    Examples
    --------
    >>> import tempfile
    >>> from csc_data.formats.reading import open_array
    >>> from csc_submit import save_numpy_binary_to_zarr
    >>> masks = [np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_numpy_binary_to_zarr(f"{folder}/submission.zarr", "crop557", ["nuc", "er"], masks)
    ...     int(open_array(f"{folder}/submission.zarr/crop557/er")[...].sum())
    64
    """
    mode: Literal["append", "overwrite"] = "overwrite" if overwrite else "append"
    save_numpy_class_arrays_to_zarr(submission_path, test_volume_name, label_names, labels, mode)


def _as_volume(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 3 or array.dtype.kind not in "biuf":
        raise InvalidArgumentError(f"{name} must be numbers in three axes (z, y, x), got {array.dtype} {array.shape}")
    return array
