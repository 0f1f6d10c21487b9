"""Arrays that people hand in from Python: what they can be read as, or what is wrong, in our words."""

import numpy as np
import pytest

import csc_eval
from csc_data.errors import InvalidArgumentError

GOOD = np.arange(24).reshape(2, 3, 4) % 3
BAD = {
    "two axes": np.ones((8, 8)),
    "no voxels": np.ones((8, 8, 0)),
    "a number": 8,
    "nothing": [],
    "complex": np.ones((2, 3, 4), complex),
    "text": [[["a"]]],
    "objects": np.full((2, 3, 4), None),
    "dates": np.zeros((2, 3, 4), "M8[s]"),
    "rows of different lengths": [[[1, 2], [3]]],
    "numbers beyond all types": [[[10**40]]],
    "None": None,
}
CALLS = {
    "score_instances": lambda one, two: csc_eval.score_instances(one, two, (8, 8, 8)),
    "score_semantic": csc_eval.score_semantic,
    "match_instances": csc_eval.match_instances,
    "hausdorff_distances": lambda one, two: csc_eval.hausdorff_distances(one, two, (8, 8, 8)),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_volume_is_refused_in_our_words(kind):
    for call in CALLS.values():
        for pair in ((GOOD, BAD[kind]), (BAD[kind], GOOD)):
            with pytest.raises(InvalidArgumentError, match=r"the (truth|prediction)"):
                call(*pair)
    with pytest.raises(InvalidArgumentError, match="the volume"):
        csc_eval.connected_components(BAD[kind])


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_shapes_that_differ_are_told(call):
    with pytest.raises(InvalidArgumentError, match=r"\(2, 3, 4\), the prediction \(3, 3, 4\)"):
        call(GOOD, np.ones((3, 3, 4)))


def test_nested_lists_are_volumes():
    assert csc_eval.score_instances(GOOD.tolist(), GOOD.tolist(), [8, 8, 8]) == csc_eval.score_instances(
        GOOD, GOOD, (8.0, 8.0, 8.0)
    )
    assert csc_eval.score_semantic([[[1, 1, 0]]], [[[0, 1, 1]]]).score == 1 / 3
    assert csc_eval.connected_components([[[1, 0, 2]]])[1] == 2


@pytest.mark.parametrize("voxel_size", [(8, 8), (8, 8, 0), (8, 8, -1), (8, 8, float("nan")), 8, "8 nm", None])
def test_a_voxel_size_is_three_lengths(voxel_size):
    with pytest.raises(InvalidArgumentError, match="voxel_size"):
        csc_eval.score_instances(GOOD, GOOD, voxel_size)
