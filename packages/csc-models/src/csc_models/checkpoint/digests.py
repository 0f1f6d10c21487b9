"""Digests of what a checkpoint holds, from which a file that was damaged, or put together of two, is told on loading.

They are CRC-32, three times as fast as SHA-256: this is about disks, transfers and scripts that go wrong, not about
forgers. A `.pth` file is a zip archive, which has a CRC of each of its records as well; torch does not check it.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from csc_models.errors import CheckpointReadError

FORMAT = "csc-models"
DIGESTS = "digests"
_ADVICE = "copy or download it again (one that was changed on purpose: write it with save_checkpoint)"


def digests_of(contents: Mapping[str, Any]) -> dict[str, Any]:
    """Return a digest of each tensor of a checkpoint by its key, and those of its description and further content.

    Examples
    --------
    >>> import torch
    >>> contents = {"model": {"bias": torch.zeros(3)}, "description": {}, "extra": {}}
    >>> digests_of(contents)["model"] == digests_of({**contents, "extra": {"epoch": 1}})["model"]
    True
    >>> digests_of(contents)["extra"] == digests_of({**contents, "extra": {"epoch": 1}})["extra"]
    False
    """
    tensors = {key: digest(value) for key, value in contents["model"].items()}
    return {"model": tensors, "description": digest(contents["description"]), "extra": digest(contents["extra"])}


def check_digests(path: Path, contents: Mapping[str, Any]) -> None:
    """Check the contents of a file by the digests that are among them.

    Raises
    ------
    CheckpointReadError
        With what differs.
    """
    stored, found = contents[DIGESTS], digests_of(contents)
    if stored == found:
        return
    tensors = stored.get("model") if isinstance(stored, Mapping) else None
    if not isinstance(tensors, Mapping):
        raise CheckpointReadError(f"{path} is damaged: its digests are of no known form; {_ADVICE}")
    names = {**tensors, **found["model"]}
    wrong = [key for key in names if tensors.get(key) != found["model"].get(key)]
    wrong += [f"the {name}" for name in ("description", "extra") if stored.get(name) != found[name]]
    more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
    raise CheckpointReadError(f"{path} is damaged: not as saved: {', '.join(wrong[:4])}{more}; {_ADVICE}")


def check_records(path: Path, stream: BinaryIO) -> None:
    """Check the CRC of the records of a zip archive, before anything in it is believed.

    Of a file with digests, that is the record that holds all but the bytes of tensors; these are read once only.

    Raises
    ------
    CheckpointReadError
        A record is damaged; also if `torch.serialization.set_crc32_options` was told to write none.
    zipfile.BadZipFile, OSError, EOFError
        The archive is, so that its records are not found.
    """
    with zipfile.ZipFile(stream) as archive:
        # torch compresses nothing; a damaged record that claims to be compressed could claim any memory, too.
        if any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist()):
            raise zipfile.BadZipFile("a record is compressed")
        pickled = b"".join(archive.read(name) for name in archive.namelist() if name.endswith("/data.pkl"))
        damaged = None if FORMAT.encode() in pickled and DIGESTS.encode() in pickled else archive.testzip()
    if damaged is not None:
        raise CheckpointReadError(f"{path} is damaged: the CRC of {damaged} is wrong; {_ADVICE}")


def digest(value: Any, start: int = 0) -> int:
    """Return the CRC-32 of tensors (type, shape, bytes), numbers and words, and of lists and dicts of them.

    Memory order and whether tensors share memory do not count, nor do tuples differ from lists, which is what JSON
    makes of them.

    Examples
    --------
    >>> digest({"epoch": 3, "shape": (1, 2)}) == digest({"epoch": 3, "shape": [1, 2]})
    True
    >>> digest(torch.zeros(2, 3)) == digest(torch.zeros(3, 2))
    False
    """
    if isinstance(value, Tensor):
        start = zlib.crc32(f"{value.dtype} {tuple(value.shape)}".encode(), start)
        dense = value.detach().to_dense() if value.layout != torch.strided else value.detach()
        # The bytes as they are, without a copy: a view of one axis, because the last is what changes its length.
        content: Any = dense.cpu().contiguous().flatten().view(torch.uint8).numpy()
        return zlib.crc32(content, start)
    if isinstance(value, Mapping):
        start = zlib.crc32(f"{{{len(value)}".encode(), start)
        for key, item in value.items():
            start = digest(item, digest(key, start))
        return start
    if isinstance(value, (list, tuple)):
        start = zlib.crc32(f"[{len(value)}".encode(), start)
        for item in value:
            start = digest(item, start)
        return start
    return zlib.crc32(repr(value).encode(), start)
