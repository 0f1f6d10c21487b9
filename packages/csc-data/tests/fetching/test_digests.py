from __future__ import annotations

import threading
import zlib

import pytest

from csc_data.fetching.digests import FILE_NAME, DigestFile, read_digests


@pytest.fixture
def digests(tmp_path):
    opened = DigestFile(tmp_path)
    yield opened
    opened.close()


def test_the_last_line_of_a_path_holds(tmp_path, digests):
    digests.add(f"{tmp_path}/a/one two", 3, zlib.crc32(b"old"))
    digests.add(f"{tmp_path}/b", 1, 7)
    digests.add(f"{tmp_path}/a/one two", 5, zlib.crc32(b"newer"))
    digests.forget(f"{tmp_path}/b")
    assert read_digests(tmp_path) == {"a/one two": (zlib.crc32(b"newer"), 5)}
    assert read_digests(tmp_path / "nowhere") == {}


def test_a_line_that_was_cut_off_is_passed_over_and_does_not_spoil_the_next(tmp_path, digests):
    digests.add(f"{tmp_path}/a", 1, 1)
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(b"0000")
    again = DigestFile(tmp_path)
    again.add(f"{tmp_path}/b", 2, 2)
    again.close()
    assert read_digests(tmp_path) == {"a": (1, 1), "b": (2, 2)}


def test_several_may_write_at_once(tmp_path, digests):
    other = DigestFile(tmp_path)

    def add(opened, begin):
        for number in range(begin, begin + 500):
            opened.add(f"{tmp_path}/folder/{number}", number, number)

    threads = [threading.Thread(target=add, args=(opened, 500 * n)) for n, opened in enumerate((digests, other) * 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert read_digests(tmp_path) == {f"folder/{number}": (number, number) for number in range(3000)}
