"""Pickles are read without being run; hostile and damaged ones end in our errors, and cost no memory."""

import collections
import datetime
import io
import os
import pathlib
import pickle
import pickletools
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from csc_models.foreign.known_names import DamagedPickleError, Skipped, StoredArray
from csc_models.foreign.pickles import read_pickle

PROTO = b"\x80\x04"


def read(data):
    return read_pickle(io.BytesIO(data))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_is_what_pickle_reads(protocol):
    shared = [1, "ä", b"\x00\xff"]
    value = {
        "numbers": [0, -1, 2**40, -(2**70), 1.5, True, None],
        "text": ("", "word", "ж" * 300),
        "bytes": [b"", b"a" * 300],
        "nested": [shared, shared, {"a": {"b": ({},)}}],
        3: collections.OrderedDict(x=1),
        "counts": collections.defaultdict(list, a=[1]),
    }
    assert read(pickle.dumps(value, protocol)).value == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_trainers_store_besides_is_plain(protocol):
    value = {
        "score": np.float32(0.25),
        "steps": np.int64(7),
        "big_endian": np.dtype(">i4").type(5),
        "patch": np.arange(6, dtype=np.int32).reshape(2, 3).T,
        "folder": pathlib.PurePosixPath("/data/runs"),
        "axes": {2},
    }
    found = read(pickle.dumps(value, protocol))
    assert not found.skipped
    assert found.value["score"] == 0.25
    assert found.value["steps"] == 7
    assert found.value["big_endian"] == 5
    assert found.value["folder"] == "/data/runs"
    assert found.value["axes"] == [2]
    assert isinstance(found.value["patch"], StoredArray)
    np.testing.assert_array_equal(found.value["patch"].values, value["patch"])


class Called:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "call",
    [
        (os.system, ("touch ran",)),
        (eval, ("open('ran', 'w')",)),
        (exec, ("open('ran', 'w')",)),
        (subprocess.run, (["touch", "ran"],)),
        (os.mkdir, ("ran",)),
    ],
)
def test_calls_are_named_and_not_made(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = read(pickle.dumps({"weights": 1, "trap": Called(*call), "after": 2}))
    assert (found.value["weights"], found.value["after"]) == (1, 2)
    assert isinstance(found.value["trap"], Skipped)
    (name,) = found.skipped
    assert call[0].__name__ in name
    assert not list(tmp_path.iterdir())


def test_objects_are_named_and_what_follows_them_is_read():
    value = {"when": datetime.timedelta(1), "ours": Called(Called, (1,)), "after": [1]}
    found = read(pickle.dumps(value))
    assert found.value["after"] == [1]
    assert list(found.skipped) == ["datetime.timedelta", f"{Called.__module__}.Called"]


@pytest.mark.parametrize("name", ["csc_models_trap", "antigravity", "this"])
def test_modules_that_are_named_are_not_imported(name, monkeypatch):
    monkeypatch.delitem(sys.modules, name, raising=False)
    read(PROTO + f"c{name}\nrun\n.".encode())
    assert name not in sys.modules


HOSTILE = {
    "a memo far away": PROTO + b"]r\xff\xff\xff\x7f.",
    "bytes longer than the file": PROTO + b"\x8e" + (1 << 40).to_bytes(8, "little") + b"ab.",
    "a bytearray longer than the file": PROTO + b"\x96" + (1 << 40).to_bytes(8, "little") + b"ab.",
    "text longer than the file": PROTO + b"\x8d" + (1 << 60).to_bytes(8, "little") + b"ab.",
    "a long frame": PROTO + b"\x95" + (1 << 62).to_bytes(8, "little") + b"N.",
    "an array of a million terabytes": pickle.dumps(np.zeros(3), 4).replace(
        b"K\x03\x85", b"\x8a\x06" + b"\x7f" * 6 + b"\x85"
    ),
    "bytes by their number": PROTO + b"c__builtin__\nbytearray\n\x8a\x06\xff\xff\xff\xff\xff\x7f\x85R.",
    "zeros by numpy": PROTO + b"cnumpy\nzeros\n\x8a\x06\xff\xff\xff\xff\xff\x7f\x85R.",
    "a type of a terabyte": PROTO + b"cnumpy\ndtype\nX\x0b\x00\x00\x00S9999999999\x85R.",
    "a number of many digits": b"I" + b"9" * 100_000 + b"\n.",
    "twice as much at each step": PROTO + b"]" + b"2\x86" * 200 + b".",
    "a list in itself": PROTO + b"]q\x00h\x00a.",
    "no end": PROTO + b"N",
    "nothing": b"",
    "an empty stack": PROTO + b"0.",
    "a mark that is missing": PROTO + b"t.",
    "a value behind a mark": PROTO + b"N(R.",
    "an extension": PROTO + b"\x82\x01.",
    "a buffer elsewhere": b"\x80\x05\x97.",
    "an id of nothing": PROTO + b"Pabc\n.",
    "a name of numbers": PROTO + b"K\x01K\x02\x93.",
    "text that is not text": PROTO + b"X\x02\x00\x00\x00\xff\xfe.",
}


DEEP = {
    "lists in lists": PROTO + b"]" * 40_000 + b"a" * 39_999 + b".",
    "tuples in tuples": PROTO + b")" + b"\x85" * 40_000 + b".",
    "a tuple in tuples for a key": PROTO + b"})" + b"\x85" * 40_000 + b"Ns.",
    "a set of tuples in tuples": PROTO + b"\x8f()" + b"\x85" * 40_000 + b"\x90.",
}


@pytest.mark.parametrize("what", DEEP)
def test_deep_nesting_is_read_and_freed(what):
    """Python hashes, compares and prints nested tuples by recursion in C, which ends in a crash."""
    assert type(read(DEEP[what]).value) in (list, tuple, dict)


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_pickles_cost_no_memory(what):
    tracemalloc.start()
    try:
        read(HOSTILE[what])
    except DamagedPickleError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 100e6


def test_more_steps_than_any_file_has_are_refused(monkeypatch):
    monkeypatch.setattr("csc_models.foreign.pickles.MOST_OPCODES", 100)
    with pytest.raises(DamagedPickleError, match="more than 100 steps"):
        read(PROTO + b"}" * 200 + b".")


def test_all_opcodes_are_known_or_refused():
    """Each opcode with nothing on the stack: read, or an error of ours."""
    for opcode in pickletools.opcodes:
        argument = b"\x01" * 16 + b"\n" if opcode.arg else b""
        try:
            read(PROTO + b"]]]" + opcode.code.encode("latin-1") + argument + b".")
        except DamagedPickleError:
            continue


def test_cut_and_flipped_pickles_are_read_or_refused():
    data = pickle.dumps({"a": [np.float64(1), {"b": (1, "word")}], "c": np.arange(9)}, 2)
    generator = np.random.default_rng(0)
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= int(generator.integers(1, 256))
        for each in (data[:place], bytes(damaged)):
            try:
                read(each)
            except DamagedPickleError:
                continue
