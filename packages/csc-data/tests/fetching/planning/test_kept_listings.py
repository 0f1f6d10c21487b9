"""The listing of an earlier run: used for a day, for the same question, and never instead of looking at the disk."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import pytest

from csc_data.fetching import fetch_data, plan_fetch
from csc_data.fetching.planning.kept_listings import FOLDER, LONGEST_SECONDS


@dataclass(frozen=True)
class Reach:
    nm: float

    def __call__(self, extent):
        return (self.nm,) * 3


@pytest.fixture
def fetched(config, options):
    fetch_data(config, options(crops=["1", "2"]))
    return config


def lists(server):
    return server.stats()["list"]


def kept(config):
    return list((config.root / FOLDER).iterdir())


def test_a_restart_with_nothing_to_do_asks_nothing_of_the_bucket(fetched, options, server):
    before = server.stats()["requests"]
    result = fetch_data(fetched, options(crops=["1", "2"]))
    assert result.complete
    assert (result.fetched_files, server.stats()["requests"]) == (0, before)


def test_a_reach_is_known_by_what_it_says(config, options, server):
    fetch_data(config, options(crops=["1"], raw_reach=Reach(9)))
    before = lists(server)
    plan_fetch(config, options(crops=["1"], raw_reach=Reach(9)))
    assert lists(server) == before
    plan_fetch(config, options(crops=["1"], raw_reach=Reach(90)))
    assert lists(server) > before


def test_a_restart_sees_what_went_missing_from_the_disk(fetched, options, server, files_in):
    whole = files_in(fetched.root)
    lost = [name for name in whole if name.endswith(("0", ".zarray"))][::7]
    for name in lost:
        (fetched.root / name).unlink()
    before = lists(server)
    assert fetch_data(fetched, options(crops=["1", "2"])).fetched_files == len(lost)
    assert lists(server) == before
    assert files_in(fetched.root) == whole


def test_the_plan_is_the_same_as_of_a_new_listing(fetched, options):
    new = plan_fetch(fetched, options(crops=["1", "2"], relist=True))
    old = plan_fetch(fetched, options(crops=["1", "2"]))
    assert old.listed < new.listed
    for one, other in zip(old.crops, new.crops, strict=True):
        assert (one.source, one.boxes, one.classes) == (other.source, other.boxes, other.classes)
        for mine, theirs in zip(one.groups, other.groups, strict=True):
            assert (mine.prefix, mine.folder, mine.files, mine.whole) == (
                theirs.prefix,
                theirs.folder,
                theirs.files,
                theirs.whole,
            )


@pytest.mark.parametrize(
    "changes",
    [
        {"relist": True},
        {"access_mode": "overwrite"},
        {"checksums": True},
        {"crops": ["1"]},
        {"raw_padding": 3},
        {"raw_reach": Reach(3)},
    ],
    ids=str,
)
def test_other_options_list_anew(fetched, options, server, changes):
    before = lists(server)
    plan_fetch(fetched, options(**{"crops": ["1", "2"], **changes}))
    assert lists(server) > before


@pytest.mark.parametrize("damage", ["old", "cut", "other"])
def test_a_listing_that_is_old_or_damaged_is_not_used(fetched, options, server, damage):
    (file,) = kept(fetched)
    text = file.read_text("utf-8")
    if damage == "old":
        text = json.dumps({**json.loads(text), "listed": time.time() - LONGEST_SECONDS - 1})
    file.write_text({"cut": text[:-100], "other": "[]"}.get(damage, text), "utf-8")
    before = lists(server)
    assert fetch_data(fetched, options(crops=["1", "2"])).complete
    assert lists(server) > before


def test_a_listing_of_what_is_missing_in_the_bucket_is_not_kept(config, options, bucket):
    place = f"s3://{bucket.name}/jrc_tiny-1/jrc_tiny-1.zarr/recon-1"
    with (config.root / "manifest.csv").open("a", encoding="utf-8") as file:
        file.write(f"77,jrc_tiny-1,recon-1,{place}/labels/groundtruth/crop77,{place}/em/fibsem-uint8\n")
    assert not fetch_data(config, options(crops=["2", "77"])).complete
    assert not (config.root / FOLDER).exists()
