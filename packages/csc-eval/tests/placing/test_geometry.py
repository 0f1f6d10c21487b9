"""Where a prediction lies: csc-eval and `open_volume` say the same; what the leaderboard takes otherwise is said."""

import json
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import csc_eval
from csc_data.storage.stores.places import FolderStore
from csc_data.volumes import open_volume
from csc_eval.command.options import evaluate
from csc_eval.placing.predictions import CropGrid, open_prediction

SHAPE = (8, 9, 10)
PLACE = {"voxel_size": [8.0] * 3, "translation": [0.0] * 3}
BOTH = ["leaderboard-2026-06", "definition-2026-06"]
HEAVY = {"zarr", "pydantic", "fsspec", "s3fs", "obstore", "aiohttp", "scipy"}


def group(folder, write_array, *, scale, units="nanometer", outer=None, shift=None, values=None, axes="zyx"):
    """Write a multiscale group of one level."""
    steps = [{"type": "scale", "scale": scale}]
    steps += [] if shift is None else [{"type": "translation", "translation": shift}]
    named = [{"name": name, "type": "space", "unit": units} for name in axes]
    entry = {"version": "0.4", "axes": named, "datasets": [{"path": "s0", "coordinateTransformations": steps}]}
    if outer is not None:
        entry["coordinateTransformations"] = [{"type": "scale", "scale": outer}]
    write_array(folder / "s0", values)
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / ".zattrs").write_text(json.dumps({"multiscales": [entry]}))


@pytest.fixture
def volume():
    values = np.zeros(SHAPE, np.uint8)
    values[1:4, 2:6, 3:9] = 1
    values[5:8, 6:9, 1:5] = 2
    return values


@pytest.fixture
def truth(tmp_path, write_array, volume):
    write_array(tmp_path / "t.zarr/crop1/mito", volume, attributes=PLACE)
    return tmp_path / "t.zarr"


@given(
    scale=st.lists(st.floats(0.01, 100), min_size=3, max_size=3),
    shift=st.none() | st.lists(st.floats(-100, 100), min_size=3, max_size=3),
    outer=st.none() | st.lists(st.floats(0.1, 10), min_size=3, max_size=3),
    units=st.sampled_from(["nanometer", "micrometer", "angstrom", None]),
)
def test_open_volume_and_csc_eval_agree(tmp_path_factory, write_array, scale, shift, outer, units):
    folder = tmp_path_factory.mktemp("g")
    values = np.ones((2, 3, 4), "u1")
    group(folder / "mito", write_array, scale=scale, shift=shift, outer=outer, units=units, values=values)
    (level,) = open_volume(folder / "mito").levels
    crop = CropGrid(voxel_size=(8.0, 8.0, 8.0), translation=(0.0, 0.0, 0.0), shape=(2, 3, 4))
    full = open_prediction(FolderStore(folder), "mito", crop, geometry="full")
    assert (full.voxel_size, full.translation) == (level.grid.voxel_size, level.grid.translation)
    stated = open_prediction(FolderStore(folder), "mito", crop)
    assert (stated.voxel_size, stated.translation) == (tuple(scale), None if shift is None else tuple(shift))
    if units in ("nanometer", None) and outer is None:
        assert not stated.note
    if units == "micrometer" and outer is None:
        assert stated.note
    assert stated.note == full.note


@pytest.mark.parametrize(
    "how",
    [{"scale": [0.008] * 3, "units": "micrometer"}, {"scale": [1.0] * 3, "outer": [8.0] * 3}],
    ids=["micrometers", "scale of the group"],
)
def test_a_group_is_scored_where_it_lies_and_the_leaderboards_place_is_said(tmp_path, write_array, volume, truth, how):
    """The official scorer takes both for other voxel sizes, and keeps few voxels of them."""
    group(tmp_path / "s.zarr/crop1/mito", write_array, values=volume, **how)
    result = csc_eval.score_submission(tmp_path / "s.zarr", truth, rules=BOTH)
    official, right = result.crops["crop1"]["mito"], result.alternatives[0].crops["crop1"]["mito"]
    assert (right.tp, right.fp, right.fn, right.score) == (2, 0, 0, 1.0)
    assert official.score < 1
    assert "with units and group it is [8.0, 8.0, 8.0]" in official.place_differs
    assert [official.place_differs in reason for reason in result.differences[0].reasons] == [True]
    assert result.to_extended_dict()["crop1"]["mito"]["place_differs"] == official.place_differs
    output = CliRunner().invoke(evaluate, ["-s", str(tmp_path / "s.zarr"), "-t", str(truth)]).output
    assert "what other rules place otherwise" in output
    group(tmp_path / "same.zarr/crop1/mito", write_array, scale=[8.0] * 3, values=volume)
    assert not csc_eval.score_submission(tmp_path / "same.zarr", truth).crops["crop1"]["mito"].place_differs


def test_units_that_nobody_knows_leave_the_leaderboard_its_number(tmp_path, write_array, volume, truth):
    group(tmp_path / "s.zarr/crop1/mito", write_array, scale=[8.0] * 3, units="pixel", values=volume)
    score = csc_eval.score_submission(tmp_path / "s.zarr", truth).crops["crop1"]["mito"]
    assert (score.score, "'pixel'" in score.place_differs) == (1.0, True)
    failed = csc_eval.score_submission(tmp_path / "s.zarr", truth, rules="definition-2026-06")
    assert "'pixel'" in failed.failures["crop1", "mito"]


def test_axes_of_length_one_are_left_out(tmp_path, write_array, volume, truth):
    group(tmp_path / "s.zarr/crop1/mito", write_array, scale=[1.0, 8.0, 8.0, 8.0], axes="czyx", values=volume[None])
    (tmp_path / "s.zarr/crop1/mito/.zattrs").write_text(
        (tmp_path / "s.zarr/crop1/mito/.zattrs").read_text().replace('"unit": "nanometer"', '"unit": null')
    )
    result = csc_eval.score_submission(tmp_path / "s.zarr", truth, rules=BOTH)
    for found in (result, *result.alternatives):
        assert found.crops["crop1"]["mito"].score == 1


def test_scoring_loads_neither_zarr_nor_pydantic_nor_a_network(tmp_path, write_array, volume, truth):
    write_array(tmp_path / "s.zarr/crop1/mito", volume, attributes=PLACE, compressor="blosc")
    code = (
        "import sys, csc_eval; csc_eval.score_submission(sys.argv[1], sys.argv[2]);"
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "s.zarr"), str(truth)]
    run = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
