"""What becomes of stored volumes that are cut off or hold flipped bits: refused, read as before, or changed unseen.

    python benchmarks/damage.py [--cases 10000] [--seed 0]

Every format, codec and container is damaged at random: a file is cut to any length, or bits of it are flipped, half of
them near its beginning, where headers are. The read must end in a `CscError`, in the values of before, or, where no
checksum covers the bytes, in other values; anything else is counted as WRONG, and the script exits with 1. A cut is
found always, whatever the codec. All runs in a process of its own that may take 1 GiB beyond its libraries, so that a
crash or a bomb ends it. Rows: what was damaged, cases, refused, unchanged, changed, WRONG, and why a change cannot be
found.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import resource
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np

from csc_data.errors import CscError
from csc_data.formats.cache import ChunkCache
from csc_data.formats.codecs import crc32c
from csc_data.formats.reading import open_chunks
from csc_data.storage.nodes import read_node
from csc_data.storage.stores.places import FolderStore, Store
from csc_data.storage.stores.zips import ZipStore

SHAPE, CHUNKS = (20, 16, 24), (8, 8, 8)
EXTRA_BYTES = 2**30
TABLE = ("what was damaged", "cases", "refused", "unchanged", "changed", "WRONG", "why a change cannot be found")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A way of storing.

    Attributes
    ----------
    name : str
    write : callable
        Takes a folder and the voxels.
    unchecked : str
        Why flipped bits may change values unseen; "" if they may not.
    zipped : int, optional
        How the folder is packed into a zip.
    metadata : bool
        Whether the metadata are damaged, not the chunks.
    """

    name: str
    write: Callable[[Path, np.ndarray], None]
    unchecked: str = ""
    zipped: int | None = None
    metadata: bool = False


@dataclass(kw_only=True)
class Outcome:
    """How often each kind of end was seen, and the wrong ones."""

    refused: int = 0
    unchanged: int = 0
    changed: int = 0
    wrong: list[str] = field(default_factory=list)


def blocks(data: np.ndarray, chunks: tuple[int, ...]) -> list[tuple[tuple[int, ...], np.ndarray]]:
    """Return the chunks of an array, filled up with zeros at its end, with their numbers."""
    found = []
    for index in np.ndindex(*[-(-n // c) for n, c in zip(data.shape, chunks, strict=True)]):
        part = data[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True))]
        whole = np.zeros(chunks, data.dtype)
        whole[tuple(map(slice, part.shape))] = part
        found.append((index, whole))
    return found


def put(file: Path, content: bytes) -> None:
    """Write a file, and the folders above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def encoded(codecs: list[Any], values: np.ndarray) -> bytes:
    """Apply codecs of numcodecs."""
    data: Any = values.tobytes()
    for codec in codecs:
        data = codec.encode(np.frombuffer(data, values.dtype) if isinstance(codec, numcodecs.Blosc) else data)
    return bytes(data)


def write_format2(folder: Path, data: np.ndarray, codec: Any = None, filters: tuple[Any, ...] = ()) -> None:
    """Write zarr format 2."""
    metadata = {
        "zarr_format": 2, "shape": data.shape, "chunks": CHUNKS, "dtype": data.dtype.str, "fill_value": 0,
        "order": "C", "compressor": codec and codec.get_config(), "filters": [f.get_config() for f in filters] or None,
    }  # fmt: skip
    put(folder / ".zarray", json.dumps(metadata).encode())
    for index, chunk in blocks(data, CHUNKS):
        put(folder / ".".join(map(str, index)), encoded([*filters, *([codec] if codec else [])], chunk))


def with_checksum(content: bytes) -> bytes:
    """Append a CRC32C."""
    return content + crc32c(content).to_bytes(4, "little")


def write_format3(
    folder: Path, data: np.ndarray, codec: Any = None, *, checksum: bool = False, shards: str | None = None
) -> None:
    """Write zarr format 3, with shards of 2 x 1 x 3 chunks whose index is at their end or start."""
    codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": "little"}}]
    if codec is not None:
        config = codec.get_config()
        codecs.append({"name": config.pop("id"), "configuration": config})
    codecs += [{"name": "crc32c"}] if checksum else []
    grid = (16, 8, 24) if shards else CHUNKS
    chunks = {}
    for index, chunk in blocks(data, CHUNKS):
        content = encoded([] if codec is None else [codec], chunk)
        chunks[index] = with_checksum(content) if checksum else content
    if shards:
        index_codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
        configuration = {"chunk_shape": CHUNKS, "codecs": codecs, "index_codecs": index_codecs}
        codecs = [{"name": "sharding_indexed", "configuration": {**configuration, "index_location": shards}}]
    metadata = {
        "zarr_format": 3, "node_type": "array", "shape": data.shape, "data_type": data.dtype.name, "fill_value": 0,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": grid}},
        "chunk_key_encoding": {"name": "default"}, "codecs": codecs,
    }  # fmt: skip
    put(folder / "zarr.json", json.dumps(metadata).encode())
    if not shards:
        for index, content in chunks.items():
            put(folder.joinpath("c", *map(str, index)), content)
        return
    for outer in np.ndindex(*[-(-n // s) for n, s in zip(data.shape, grid, strict=True)]):
        table = np.full((2, 1, 3, 2), 2**64 - 1, "<u8")
        body, begin = b"", table.nbytes + 4 if shards == "start" else 0
        for inner in np.ndindex(2, 1, 3):
            content = chunks.get(tuple(o * n + i for o, n, i in zip(outer, (2, 1, 3), inner, strict=True)))
            if content is not None:
                table[inner] = begin + len(body), len(content)
                body += content
        index_bytes = with_checksum(table.tobytes())
        put(folder.joinpath("c", *map(str, outer)), index_bytes + body if shards == "start" else body + index_bytes)


def write_n5(folder: Path, data: np.ndarray, kind: str = "raw", encode: Callable[[bytes], bytes] = bytes) -> None:
    """Write N5."""
    metadata = {
        "dimensions": data.shape[::-1], "blockSize": CHUNKS[::-1], "dataType": data.dtype.name,
        "compression": {"type": kind},
    }  # fmt: skip
    put(folder / "attributes.json", json.dumps(metadata).encode())
    for index, chunk in blocks(data, CHUNKS):
        content = encode(chunk.astype(chunk.dtype.newbyteorder(">")).tobytes())
        put(folder.joinpath(*map(str, index[::-1])), struct.pack(">HH3I", 0, 3, *CHUNKS[::-1]) + content)


def kinds() -> list[Kind]:
    """Return every way of storing that is damaged."""
    no_sum = "{} has no checksum: a value or a length in its data may read as another one"
    found = [Kind(name="zarr 2, no codec", write=write_format2, unchecked="every byte is a value")]
    for inner in numcodecs.blosc.list_compressors():
        for shuffle in (0, 1, 2):
            codec = numcodecs.Blosc(cname=inner, shuffle=shuffle)
            name = f"zarr 2, blosc {inner} {('no shuffle', 'shuffle', 'bitshuffle')[shuffle]}"
            found.append(Kind(name=name, write=_with(write_format2, codec), unchecked=no_sum.format("Blosc")))
    streams = [numcodecs.GZip(1), numcodecs.Zlib(1), numcodecs.BZ2(1), numcodecs.LZMA(preset=1)]
    found += [Kind(name=f"zarr 2, {codec.codec_id}", write=_with(write_format2, codec)) for codec in streams]
    for codec in (numcodecs.Zstd(), numcodecs.LZ4()):
        name = f"zarr 2, {codec.codec_id}"
        found.append(Kind(name=name, write=_with(write_format2, codec), unchecked=no_sum.format(codec.codec_id)))
    for checksum in (numcodecs.CRC32(), numcodecs.Adler32(), numcodecs.Fletcher32()):
        found.append(Kind(name=f"zarr 2, {checksum.codec_id}", write=_with(write_format2, None, (checksum,))))
    for codec in (None, numcodecs.Zstd(), numcodecs.GZip(1), numcodecs.Blosc(cname="lz4")):
        name = f"zarr 3, {'no codec' if codec is None else codec.codec_id}"
        words = "every byte is a value" if codec is None else no_sum.format(codec.codec_id)
        unchecked = "" if isinstance(codec, numcodecs.GZip) else words
        found.append(Kind(name=name, write=_with(write_format3, codec), unchecked=unchecked))
        found.append(Kind(name=f"{name}, crc32c", write=_with(write_format3, codec, checksum=True)))
        for place in ("start", "end"):
            sharded = _with(write_format3, codec, shards=place)
            found.append(Kind(name=f"{name}, shards, index at the {place}", write=sharded, unchecked=unchecked))
    for kind, encode in (
        ("raw", bytes), ("gzip", gzip.compress), ("bzip2", numcodecs.BZ2(1).encode),
        ("xz", numcodecs.LZMA(preset=1).encode), ("blosc", numcodecs.Blosc().encode), ("zstd", numcodecs.Zstd().encode),
    ):  # fmt: skip
        # The header of a block is not covered by what its data are packed with; smaller blocks are allowed.
        unchecked = no_sum.format("N5's header" if kind in ("gzip", "bzip2", "xz") else "the block")
        found.append(Kind(name=f"N5, {kind}", write=_with(write_n5, kind, encode), unchecked=unchecked))
    for packed, words in ((zipfile.ZIP_STORED, "stored"), (zipfile.ZIP_DEFLATED, "deflated")):
        write = _with(write_format2, numcodecs.Blosc())
        found.append(Kind(name=f"zip, {words}, zarr 2, blosc", write=write, zipped=packed))
    for name, write in (("zarr 2", write_format2), ("zarr 3", _with(write_format3, shards="end")), ("N5", write_n5)):
        found.append(
            Kind(name=f"{name}, metadata", write=write, metadata=True, unchecked="a digit may be another digit")
        )
    return found


def _with(write: Callable[..., None], *arguments: Any, **options: Any) -> Callable[[Path, np.ndarray], None]:
    return lambda folder, data: write(folder, data, *arguments, **options)


def read(store: Store) -> np.ndarray:
    """Read an array as volumes do."""
    return open_chunks(read_node(store, "a"), cache=ChunkCache(0))[...]


def spoil(rng: np.random.Generator, content: bytes) -> tuple[bytes, str]:
    """Cut a file off, or flip bits in it."""
    if rng.random() < 0.4:
        return content[: int(rng.integers(0, len(content)))], "cut"
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        reach = min(len(data), 40) if rng.random() < 0.5 else len(data)
        data[int(rng.integers(reach))] ^= 1 << int(rng.integers(8))
    return bytes(data), "flipped"


def damage(number: int, cases: int, seed: int) -> Outcome:
    """Damage one kind again and again, and read it."""
    kind = kinds()[number]
    rng = np.random.default_rng([seed, number])
    data = np.arange(np.prod(SHAPE), dtype="u2").reshape(SHAPE) // 5 * rng.integers(1, 3, SHAPE, dtype="u2") + 1
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "s")
        kind.write(root / "a", data)
        if kind.zipped is not None:
            archive = Path(scratch, "s.zip")
            with zipfile.ZipFile(archive, "w", kind.zipped) as target:
                for file in sorted(root.rglob("*")):
                    target.write(file, file.relative_to(root))
            files = [archive]
        else:
            stored = [file for file in sorted(root.rglob("*")) if file.is_file()]
            files = [
                file for file in stored if (file.name in (".zarray", "zarr.json", "attributes.json")) == kind.metadata
            ]
        for _ in range(cases):
            file = files[int(rng.integers(len(files)))]
            before = file.read_bytes()
            after, how = spoil(rng, before)
            file.write_bytes(after)
            try:
                values = read(ZipStore(file) if kind.zipped is not None else FolderStore(root))
            except CscError:
                outcome.refused += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it is wrong
                outcome.wrong.append(f"{kind.name}, {how}: {type(error).__name__}: {error}")
            else:
                if values.dtype == data.dtype and np.array_equal(values, data):
                    outcome.unchanged += 1
                elif kind.unchecked and (how == "flipped"):
                    outcome.changed += 1
                else:
                    outcome.wrong.append(f"{kind.name}, {how}: other values, unseen")
            file.write_bytes(before)
    return outcome


def bound_memory() -> None:
    """Let this process take no more than it has and `EXTRA_BYTES`."""
    if Path("/proc/self/statm").exists():
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + EXTRA_BYTES,) * 2)


def run(cases: int, seed: int, workers: int = 2) -> list[tuple[Kind, Outcome]]:
    """Damage every kind, so many cases in all; a kind that ends its process is wrong."""
    all_kinds = kinds()
    each = -(-cases // len(all_kinds))
    found = []
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=bound_memory)
    futures = [pool.submit(damage, number, each, seed) for number in range(len(all_kinds))]
    for kind, future in zip(all_kinds, futures, strict=True):
        try:
            found.append((kind, future.result()))
        except BrokenProcessPool:
            found.append((kind, Outcome(wrong=[f"{kind.name}, or one that ran beside it, ended its process"])))
    pool.shutdown()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows, wrong = [TABLE], []
    total = np.zeros(5, int)
    for kind, outcome in run(arguments.cases, arguments.seed):
        counts = np.array([outcome.refused, outcome.unchanged, outcome.changed, len(outcome.wrong)])
        counts = np.concatenate([[counts.sum()], counts])
        total += counts
        wrong += outcome.wrong
        rows.append((kind.name, *map(str, counts), kind.unchecked if outcome.changed else ""))
    rows.append(("all", *map(str, total), ""))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:6], widths[1:], strict=True)),
        ]
        print("  ".join([*cells, row[6]]).rstrip())
    print("\n".join(wrong[:40]))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
