"""What was fetched, compared with the digests beside it."""

from __future__ import annotations

import os
import shutil

import pytest

from csc_data.errors import MissingDataError, ProblemsError
from csc_data.fetching import fetch_data, verify_data

GROUNDTRUTH = "jrc_tiny-1/jrc_tiny-1.zarr/recon-1/labels/groundtruth"
RAW = "jrc_tiny-1/jrc_tiny-1.zarr/recon-1/em/fibsem-uint8"


@pytest.fixture
def fetched(config, options):
    fetch_data(config, options())
    return config


def names(config, paths):
    return [path.relative_to(config.root).as_posix() for path in paths]


def flip(path):
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def test_what_came_is_whole(fetched, expected):
    seen = []
    result = verify_data(fetched, progress=seen.append)
    assert result.whole
    assert (result.n_files, result.n_bytes) == (len(expected), sum(map(len, expected.values())))
    assert seen[-1].done == seen[-1].total == len(expected)
    assert {state.phase for state in seen} == {"verifying"}


def test_damage_and_loss_are_found_and_the_next_fetch_mends_them(fetched, options, files_in, expected):
    damaged = [f"{GROUNDTRUTH}/crop1/mito/s0/.zarray", next(n for n in expected if n.startswith(f"{RAW}/s0/0"))]
    for name in damaged:
        flip(fetched.root / name)
    (fetched.root / GROUNDTRUTH / "crop2/.zattrs").write_bytes(b"")
    missing = next(name for name in expected if name.startswith(f"{GROUNDTRUTH}/crop2/mito/s0/0"))
    (fetched.root / missing).unlink()
    result = verify_data(fetched)
    assert names(fetched, result.damaged) == sorted([*damaged, f"{GROUNDTRUTH}/crop2/.zattrs"])
    assert names(fetched, result.missing) == [missing]
    assert not result.unknown
    assert fetch_data(fetched, options()).fetched_files == 4
    assert files_in(fetched.root) == expected
    assert verify_data(fetched).whole


def test_of_some_crops_their_labels_and_the_raw_of_their_data_sets_are_compared(fetched, expected):
    for name in (f"{GROUNDTRUTH}/crop1/mito/s0/.zarray", f"{GROUNDTRUTH}/crop2/mito/s0/.zarray"):
        flip(fetched.root / name)
    shutil.rmtree(fetched.root / GROUNDTRUTH / "crop2" / "er")
    result = verify_data(fetched, crops=["1"])
    assert names(fetched, result.damaged) == [f"{GROUNDTRUTH}/crop1/mito/s0/.zarray"]
    assert not result.missing
    inside = [name for name in expected if name.startswith((RAW, f"{GROUNDTRUTH}/crop1/")) and "crop1/.z" not in name]
    assert result.n_files == len(inside)
    assert verify_data(fetched, crops=["11"]).whole
    with pytest.raises(ProblemsError, match="there is no such crop"):
        verify_data(fetched, crops=["77"])


def test_files_that_nobody_knows_are_named_until_they_are_compared_with_the_bucket(fetched, options, expected):
    fetched.root.joinpath("jrc_tiny-1", ".csc-digests").unlink()
    own = fetched.root / GROUNDTRUTH / "crop1/my_class/s0/0"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    result = verify_data(fetched)
    unknown = set(names(fetched, result.unknown))
    assert f"{GROUNDTRUTH}/crop1/mito/s0/.zarray" in unknown
    assert unknown <= expected.keys()
    assert not result.whole
    assert fetch_data(fetched, options(checksums=True)).fetched_files == 0
    assert verify_data(fetched).whole


def test_what_overwriting_removed_is_not_missed(fetched, options, expected):
    first = f"{GROUNDTRUTH}/crop1/mito/s0/9/9/9"
    path = fetched.root / first
    path.parent.mkdir(parents=True)
    path.write_bytes(b"old")
    with (fetched.root / "jrc_tiny-1" / ".csc-digests").open("a") as file:
        file.write(f"00000000 3 {first.removeprefix('jrc_tiny-1/')}\n")
    assert names(fetched, verify_data(fetched).damaged) == [first]
    assert fetch_data(fetched, options(access_mode="overwrite")).removed == 1
    assert verify_data(fetched).whole


def test_a_data_set_that_is_copied_takes_its_digests_along(fetched, tmp_path, write_manifest, config):
    write_manifest(tmp_path / "copy")
    shutil.copytree(fetched.root / "jrc_tiny-2", tmp_path / "copy" / "jrc_tiny-2")
    copy = type(config)(data=str(tmp_path / "copy"))
    assert verify_data(copy).whole
    flip(next(path for path in (tmp_path / "copy").rglob("s0/*/*/*") if path.is_file()))
    assert len(verify_data(copy).damaged) == 1


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_what_cannot_be_read_is_damaged(fetched):
    (fetched.root / RAW / "s0/.zarray").chmod(0)
    assert names(fetched, verify_data(fetched).damaged) == [f"{RAW}/s0/.zarray"]


def test_where_nothing_was_fetched_there_is_nothing_to_compare(config):
    with pytest.raises(MissingDataError, match="csc fetch-data"):
        verify_data(config)
