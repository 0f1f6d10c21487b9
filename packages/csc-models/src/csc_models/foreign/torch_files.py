"""Files of torch: zip archives, and the older form of several pickles one behind the other.

Tensors are read when they are asked for, so that only weights take memory, and no more than the file has.

Source of the forms: https://docs.pytorch.org/docs/stable/notes/serialization.html and ``torch/serialization.py``
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from csc_models.checkpoint.safetensors_files import is_safetensors, read_safetensors
from csc_models.errors import CheckpointNotFoundError, CheckpointReadError
from csc_models.foreign.known_names import DamagedPickleError, Name, Storage, StoredTensor
from csc_models.foreign.pickles import Pickle, read_pickle

_LARGEST_PICKLE = 256 << 20  # bytes of a zip's data.pkl; the numbers of tensors stand elsewhere
_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_TAR = slice(257, 262)  # where a tar archive says that it is one

State = Mapping[str, StoredTensor | Tensor]


@dataclass(slots=True, kw_only=True)
class ForeignFile:
    """What a file of somebody else's holds.

    Attributes
    ----------
    path : Path
    contents : object
        Plain data; tensors are `StoredTensor`, or tensors where the format has no others.
    skipped : dict of str to int
        What it names that is not read, and how often.
    """

    path: Path
    contents: Any
    skipped: dict[str, int] = field(default_factory=dict)

    def tensors(self, state: State) -> dict[str, Tensor]:
        """Read tensors.

        Raises
        ------
        CheckpointReadError
            The file is damaged.
        """
        # One storage may be behind several tensors.
        held: dict[Storage, Tensor] = {}
        result = {key: tensor for key, tensor in state.items() if isinstance(tensor, Tensor)}
        if len(result) == len(state):
            return result
        with _told(self.path), _storages(self.path) as read:
            for key, stored in state.items():
                if isinstance(stored, StoredTensor):
                    if stored.storage not in held:
                        held[stored.storage] = _numbers(stored.storage, read(stored.storage))
                    values = held[stored.storage]
                    result[key] = torch.as_strided(values, stored.shape, stored.stride, stored.offset)
        return result


def read_foreign_file(path: Path) -> ForeignFile:
    """Read what a file holds, but for the numbers of its tensors; nothing that it names is imported or called.

    Raises
    ------
    CheckpointNotFoundError
        There is no such file.
    CheckpointReadError
        It is damaged, or of another kind.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     torch.save({"epoch": 3, "bias": torch.zeros(3)}, Path(folder, "theirs.pth"))
    ...     file = read_foreign_file(Path(folder, "theirs.pth"))
    ...     print(file.contents["epoch"], file.tensors({"bias": file.contents["bias"]})["bias"].tolist())
    3 [0.0, 0.0, 0.0]
    """
    if not path.is_file():
        raise CheckpointNotFoundError(f"there is no file {path}")
    if is_safetensors(path):
        return ForeignFile(path=path, contents=read_safetensors(path, "cpu"))
    with path.open("rb") as stream:
        start = stream.read(512)
    if start[_TAR] == b"ustar":
        raise CheckpointReadError(
            f"{path} is a tar archive, as torch wrote them before 2017; load it there, and save its state_dict() again"
        )
    with _told(path):
        if start.startswith(b"PK\x03\x04"):
            found = _zip_pickle(path)
        else:
            with path.open("rb") as stream:
                found, _ = _old_pickle(_bounded(stream, path))
    return ForeignFile(path=path, contents=found.value, skipped=found.skipped)


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle without tensors, such as the plans of nnU-Net's first version.

    Raises
    ------
    CheckpointReadError
        It is damaged.

    Examples
    --------
    >>> import pickle
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "plans.pkl").write_bytes(pickle.dumps({"patch_size": [128, 128]}))
    ...     read_plain_pickle(Path(folder, "plans.pkl"))
    {'patch_size': [128, 128]}
    """
    with _told(path), path.open("rb") as stream:
        return read_pickle(_bounded(stream, path)).value


class _Bounded:
    """A file of which no more is read than there is: Python makes room for what a read asks for."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream = stream
        self._size = size
        self.readline = stream.readline
        self.tell = stream.tell

    def read(self, size: int) -> bytes:
        """Read at most the rest of the file."""
        return self._stream.read(min(size, self._size - self._stream.tell()))


def _bounded(stream: IO[bytes], path: Path) -> IO[bytes]:
    return cast("IO[bytes]", _Bounded(stream, path.stat().st_size))


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say in our words why a file cannot be read."""
    try:
        yield
    except DamagedPickleError as error:
        raise CheckpointReadError(f"{path} cannot be read: {error}") from error
    except (OSError, EOFError, zipfile.BadZipFile, NotImplementedError, KeyError, RuntimeError, ValueError) as error:
        if isinstance(error, CheckpointReadError):
            raise
        raise CheckpointReadError(f"{path} cannot be read: it is damaged, or no file of torch") from error


def _zip_pickle(path: Path) -> Pickle:
    with zipfile.ZipFile(path) as archive:
        folder = _folder(archive)
        if any(name.startswith(f"{folder}/code/") for name in archive.namelist()):
            raise CheckpointReadError(
                f"{path} is a TorchScript file, a network for other programs, of which `csc predict` takes those that "
                "`csc models export` wrote; import the checkpoint that it was made of"
            )
        if f"{folder}/byteorder" in archive.namelist():
            order = _member(archive, f"{folder}/byteorder")
            if order.decode("ascii", "replace") != sys.byteorder:
                raise CheckpointReadError(f"{path} was written by a machine with another order of bytes")
        return read_pickle(io.BytesIO(_member(archive, f"{folder}/data.pkl")), _persistent)


def _folder(archive: zipfile.ZipFile) -> str:
    """Return the folder in which all of a torch file stands."""
    found = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(found) != 1:
        raise DamagedPickleError("it is a zip, but not one of torch")
    return found[0].removesuffix("/data.pkl")


def _member(archive: zipfile.ZipFile, name: str, largest: int = _LARGEST_PICKLE) -> bytes:
    """Read a file of a zip; its checksum is compared.

    Raises
    ------
    DamagedPickleError
        It is compressed, which torch does not do and what could make it larger than any memory, or too large.
    """
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise DamagedPickleError("it is compressed, which files of torch are not")
    if info.file_size > largest:
        raise DamagedPickleError(f"its pickle has {info.file_size:,} bytes, more than {largest:,}")
    return archive.read(info)


def _old_pickle(stream: IO[bytes]) -> tuple[Pickle, dict[str, int]]:
    """Read a file of torch before 1.6: three pickles of constants, that of the contents, that of the storages' keys.

    Returns
    -------
    Pickle
        The contents.
    places : dict of str to int
        Where each storage begins: the number of its values in eight bytes, then these.
    """
    stored: dict[str, Storage] = {}

    def persistent(identity: Any) -> Storage:
        found = _persistent(identity[:5])
        stored[found.key] = found
        return found

    if read_pickle(stream).value != _OLD_MAGIC:
        raise DamagedPickleError("it is a pickle, but not one of torch")
    read_pickle(stream)
    read_pickle(stream)
    found = read_pickle(stream, persistent)
    places: dict[str, int] = {}
    keys = read_pickle(stream).value
    place = stream.tell()
    for key in keys if isinstance(keys, list) else ():
        if key not in stored:
            raise DamagedPickleError("it has numbers of which nothing says what they are")
        places[key] = place
        place += 8 + stored[key].length * stored[key].dtype.itemsize
    return found, places


def _persistent(identity: Any) -> Storage:
    """A storage, of ``("storage", type, key, where it was, length)``."""
    if not isinstance(identity, tuple) or len(identity) != 5 or identity[0] != "storage":
        raise DamagedPickleError("it refers to something that is not the numbers of a tensor")
    _, kind, key, _, length = identity
    dtype = kind.dtype if isinstance(kind, Name) else None
    if dtype is None:
        raise DamagedPickleError(f"it has tensors of a type that is not known: {kind}"[:200])
    if not isinstance(key, str) or type(length) is not int or not 0 <= length < 1 << 48:
        raise DamagedPickleError("it has a tensor of which nothing is stored")
    return Storage(key, dtype, length)


@contextmanager
def _storages(path: Path) -> Iterator[Callable[[Storage], bytes]]:
    """Open a file to read the bytes of storages."""
    with path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            stream.seek(0)
            _, places = _old_pickle(_bounded(stream, path))

            def read_old(storage: Storage) -> bytes:
                stream.seek(places[storage.key])
                if int.from_bytes(stream.read(8), "little") != storage.length:
                    raise DamagedPickleError("it is truncated, or damaged")
                return _bounded(stream, path).read(storage.length * storage.dtype.itemsize)

            yield read_old
            return
        with zipfile.ZipFile(stream) as archive:
            folder = _folder(archive)
            yield lambda storage: _member(archive, f"{folder}/data/{storage.key}", path.stat().st_size)


def _numbers(storage: Storage, data: bytes) -> Tensor:
    if len(data) != storage.length * storage.dtype.itemsize:
        raise DamagedPickleError("it is truncated, or damaged")
    if not data:
        return torch.empty(0, dtype=storage.dtype)
    return torch.frombuffer(bytearray(data), dtype=storage.dtype)
