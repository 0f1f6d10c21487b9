from __future__ import annotations

from pathlib import Path

import pytest

from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError
from csc_data.splits.search import CropTemplates, natural_key, search_crops
from csc_data.storage.trees import LocalTree


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for dataset, crops in {"jrc_hela-2": (9, 10), "jrc_mus-liver": (124,), "jrc_mus-kidney": (129, 1290)}.items():
        for crop in crops:
            folder = tmp_path / dataset / f"{dataset}.zarr" / "recon-1" / "labels" / "groundtruth" / f"crop{crop}"
            for name in ("mito", "er", ".unfinished"):
                (folder / name).mkdir(parents=True)
    (tmp_path / "jrc_other").mkdir()  # has no zarr
    (tmp_path / "predictions" / "x.zarr" / "crop1" / "mito").mkdir(parents=True)
    return tmp_path


def found(data, **wanted):
    templates = CropTemplates.below(Config(data=str(data)))
    return [crop.crop for crop in search_crops(LocalTree(), templates, **wanted)]


def test_crops_come_in_natural_order_with_what_is_in_them(data):
    crops = search_crops(LocalTree(), CropTemplates.below(Config(data=str(data))))
    assert [(crop.dataset, crop.crop) for crop in crops] == [
        ("jrc_hela-2", "crop9"),
        ("jrc_hela-2", "crop10"),
        ("jrc_mus-kidney", "crop129"),
        ("jrc_mus-kidney", "crop1290"),
        ("jrc_mus-liver", "crop124"),
    ]
    assert crops[0].names == ("er", "mito")
    assert Path(crops[0].raw) == data / "jrc_hela-2" / "jrc_hela-2.zarr" / "recon-1" / "em" / "fibsem-uint8"
    assert Path(crops[0].path).name == "crop9"
    assert Path(crops[0].path).is_dir()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"datasets": ["jrc_mus*"]}, ["crop129", "crop1290", "crop124"]),
        ({"datasets": ["jrc_hela-2", "jrc_mus-liver"]}, ["crop9", "crop10", "crop124"]),
        ({"crops": ["129"]}, ["crop129"]),
        ({"crops": ["crop129", "9"]}, ["crop9", "crop129"]),
        ({"crops": ["12*"]}, ["crop129", "crop1290", "crop124"]),
        ({"datasets": ["jrc_hela-2"], "crops": ["129"]}, []),
    ],
)
def test_names_and_patterns_choose(data, wanted, expected):
    assert found(data, **wanted) == expected


def test_nothing_is_found_where_there_is_nothing(data):
    assert found(data / "none") == []


def test_the_names_of_the_official_tools_mean_the_same(data):
    templates = CropTemplates.from_names(
        f"{data}/{{dataset}}/{{dataset}}.zarr/recon-1/{{name}}", "em/fibsem-uint8", "labels/groundtruth/{crop}/{label}"
    )
    assert templates == CropTemplates.below(Config(data=str(data)))


def test_a_template_may_fix_a_name_and_mix_it_with_others(data):
    templates = CropTemplates(
        raw=f"{data}/{{dataset}}/em",
        labels=f"{data}/{{dataset}}/{{dataset}}.zarr/recon-1/labels/groundtruth/crop{{crop}}/{{class_name}}",
    )
    crops = search_crops(LocalTree(), templates, crops=["129"])
    assert [(crop.dataset, crop.crop) for crop in crops] == [("jrc_mus-kidney", "129")]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("/d/{dataset}/x", "em", "gt/{crop}/{label}"), "must hold {dataset} and {name}"),
        (("/d/{name}", "em", "gt/{crop}/{label}"), "raw, .* must hold {dataset} and no other"),
        (("/d/{dataset}/{name}", "em", "gt/{label}"), "labels, .* must hold {class_name} {crop} {dataset}"),
        (("/d/{dataset}/{name}", "em", "gt/{label}/{crop}"), "must end in /{class_name}"),
        (("/d/{dataset}/{name}", "em/{scale}", "gt/{crop}/{label}"), "raw, .* and no other"),
    ],
)
def test_templates_that_lack_a_placeholder_are_refused(names, words):
    with pytest.raises(InvalidArgumentError, match=words):
        CropTemplates.from_names(*names)


def test_templates_of_windows_keep_their_drive():
    templates = CropTemplates(raw="C:/data/{dataset}/em", labels="C:/data/{dataset}/gt/{crop}/{class_name}")
    assert templates.place == "C:/data"

    class WindowsTree:
        """Answers as a folder on drive C: would."""

        def children(self, folders):
            known = {"C:/data/": ["jrc_a"], "C:/data/jrc_a/gt/": ["crop1"], "C:/data/jrc_a/gt/crop1": ["er"]}
            return [known[folder] for folder in folders]

        def read(self, files):
            raise AssertionError("nothing is read")

    (crop,) = search_crops(WindowsTree(), templates)
    assert (crop.dataset, crop.crop, crop.raw) == ("jrc_a", "crop1", "C:/data/jrc_a/em")


def test_search_paths_of_windows_are_understood():
    templates = CropTemplates.from_names(
        r"D:\data\{dataset}\{dataset}.zarr\recon-1\{name}", r"em\fibsem-uint8", r"labels\groundtruth\{crop}\{label}"
    )
    assert templates.raw == "D:/data/{dataset}/{dataset}.zarr/recon-1/em/fibsem-uint8"
    assert templates.labels == "D:/data/{dataset}/{dataset}.zarr/recon-1/labels/groundtruth/{crop}/{class_name}"


def test_numbers_sort_as_numbers():
    assert sorted(["crop10", "crop9", "a2b10", "a2b9"], key=natural_key) == ["a2b9", "a2b10", "crop9", "crop10"]
