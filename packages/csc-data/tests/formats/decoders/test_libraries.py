"""Codecs called in the libraries of numcodecs, and by numcodecs where they are not found."""

import subprocess
import sys

import numcodecs
import numpy as np
import pytest

from csc_data.formats.codecs import DECODING_ERRORS, decode, parse_codec
from csc_data.formats.decoders import libraries

DATA = np.arange(70000, dtype="<u4") // 9
CODECS = [numcodecs.Blosc(cname=name) for name in numcodecs.blosc.list_compressors()]
CODECS += [numcodecs.Zstd(), numcodecs.LZ4()]


@pytest.fixture(params=["found", "not found"])
def found(request, monkeypatch):
    if request.param == "not found":
        monkeypatch.setattr(libraries, "find_function", lambda kind: None)
    elif any(libraries.find_function(kind) is None for kind in ("blosc", "lz4", "zstd")):
        pytest.skip("numcodecs shows no C functions here")


@pytest.mark.parametrize("codec", CODECS, ids=str)
def test_either_way_gives_the_same_and_refuses_the_same(codec, found):
    content = bytes(codec.encode(DATA))
    codecs = (parse_codec(codec.get_config()),)
    memory = np.full(DATA.nbytes, 7, np.uint8)
    for out in (None, memory):
        assert bytes(decode(codecs, content, DATA.nbytes, out)) == DATA.tobytes()
    broken = bytearray(content)
    broken[20 : len(content) // 2] = bytes(len(content) // 2 - 20)
    try:
        values = bytes(decode(codecs, bytes(broken), DATA.nbytes))
    except DECODING_ERRORS:
        values = b""
    assert values != DATA.tobytes()


def test_the_result_lies_in_the_memory_given_where_a_library_is_found():
    if libraries.find_function("blosc") is None:
        pytest.skip("numcodecs shows no C functions here")
    memory = np.zeros(DATA.nbytes, np.uint8)
    found = decode((parse_codec({"id": "blosc"}),), bytes(numcodecs.Blosc().encode(DATA)), DATA.nbytes, memory)
    assert np.shares_memory(np.frombuffer(found, np.uint8), memory)


@pytest.mark.skipif(sys.platform == "win32", reason="modules show no other symbols there")
def test_numcodecs_is_not_imported_to_decode():
    codec = numcodecs.Blosc()
    code = (
        "import sys; from csc_data.formats.codecs import decode, parse_codec\n"
        f"assert bytes(decode([parse_codec({codec.get_config()!r})], {bytes(codec.encode(b'abc' * 99))!r}, 297)) == "
        "b'abc' * 99\nassert 'numcodecs' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
