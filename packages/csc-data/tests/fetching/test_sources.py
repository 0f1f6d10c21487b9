from __future__ import annotations

from dataclasses import replace

import pytest

from csc_data.challenge import UnknownCropError, get_test_crops
from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError, ProblemsError
from csc_data.fetching.sources import check_classes, known_crops, select_sources


@pytest.fixture
def known(tmp_path):
    return known_crops(Config(data=str(tmp_path)))


def ids(sources):
    return [source.id for source in sources]


def test_without_manifests_the_crops_of_the_challenge_are_known(known):
    assert len(known.crops) == 289 + 16
    first = known.crops[0]
    assert (first.dataset, first.name, first.bucket) == ("jrc_cos7-1a", "crop234", "janelia-cosem-datasets")
    assert first.labels == "jrc_cos7-1a/jrc_cos7-1a.zarr/recon-1/labels/groundtruth/crop234"
    assert first.raw == "jrc_cos7-1a/jrc_cos7-1a.zarr/recon-1/em/fibsem-uint8"
    assert [source.id for source in known.crops if source.test] == list(get_test_crops())
    assert "--refresh" in known.origin


def test_a_data_folder_with_manifests_has_its_own_crops(tmp_path, write_manifest):
    write_manifest(tmp_path)
    own = known_crops(Config(data=str(tmp_path)))
    assert ids(own.crops) == [1, 2, 11, 501]
    assert own.origin == str(tmp_path / "manifest.csv")


def test_a_bucket_of_ones_own_is_asked_instead(tmp_path):
    own = known_crops(replace(Config(data=str(tmp_path)), bucket="mirror"))
    assert {source.bucket for source in own.crops} == {"mirror"}
    assert {source.labels_bucket for source in own.crops if not source.test} == {"mirror"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["234", "crop557"], [234, 557]),
        (["jrc_mus-liver-zon-2/crop33*"], [333]),
        (["23[46]"], [234, 236]),
        (["jrc_mus-heart-1/*", "98?"], [423, 452, 980, 981, 982, 983, 984, 985, 986, 987, 988, 989]),
    ],
)
def test_crops_are_chosen_by_id_name_and_pattern(known, words, expected):
    assert ids(select_sources(known.crops, words)) == expected


def test_groups_of_crops_and_data_sets(known):
    assert len(select_sources(known.crops, ["all"])) == 305
    assert len(select_sources(known.crops, ["train"])) == 289
    assert ids(select_sources(known.crops, ["test"], ["jrc_mus-kidney"])) == [558, 985, 989]
    assert {source.dataset for source in select_sources(known.crops, ["train"], ["jrc_cos7*"])} == {
        "jrc_cos7-1a",
        "jrc_cos7-1b",
    }


def test_everything_that_fits_nothing_is_named_with_the_nearest(known):
    with pytest.raises(ProblemsError) as caught:
        select_sources(known.crops, ["2345", "tset", "99*99"], ["jrc_hela2"])
    text = str(caught.value)
    assert [problem.where for problem in caught.value.problems] == ["2345", "tset", "99*99", "jrc_hela2"]
    assert "did you mean 234?" in text or "did you mean 235?" in text or "did you mean 345?" in text
    assert "did you mean test?" in text
    assert "did you mean jrc_hela-2?" in text
    with pytest.raises(UnknownCropError, match="no crop fits 234 in jrc_hela-2"):
        select_sources(known.crops, ["234"], ["jrc_hela-2"])
    with pytest.raises(UnknownCropError):
        select_sources(known.crops, [])


def test_classes_are_checked_together():
    check_classes(["mito", "all"])
    with pytest.raises(ProblemsError) as caught:
        check_classes(["mitto", "er", "xyzzy"])
    assert [problem.where for problem in caught.value.problems] == ["mitto", "xyzzy"]
    with pytest.raises(InvalidArgumentError, match="empty"):
        check_classes([])
