"""What a stored volume may ask of its reader, whatever it says about itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that are checked before anything of that size is read, unpacked or allocated.

    Attributes
    ----------
    chunk_bytes : int
        Of one decoded chunk. 2 GiB is also the most that Blosc packs.
    chunks : int
        Of one array.
    metadata_bytes : int
        Of one JSON document. Metadata of real files have kilobytes, a listing of all that is in a group some megabytes.
    nesting : int
        How deep the objects and lists of a JSON document may lie in each other.
    codecs : frozenset of str, optional
        Names of the codecs that may be used, as the metadata write them; by default all that are known.
    """

    chunk_bytes: int = 2**31
    chunks: int = 2**40
    metadata_bytes: int = 2**26
    nesting: int = 64
    codecs: frozenset[str] | None = None


DEFAULT_LIMITS = Limits()

MAX_UNCOMPRESSED_SIZE = 50 * 1024**3
"""What a zip may declare to unpack to, in bytes; the portal's limit."""


def most_encoded_bytes(decoded: int) -> int:
    """Return how long the file of a chunk may be: what does not compress is stored with a header per block.

    >>> most_encoded_bytes(8000)
    74536
    """
    return decoded + decoded // 8 + 65536
