"""How far apart instances are, and where that is cut."""

import numpy as np
import pytest
from scipy.spatial.distance import directed_hausdorff

from csc_eval.instances.distances import distance_cap, hausdorff_distances, normalise_distances


def test_the_cap_is_half_the_shortest_edge_in_nm():
    assert distance_cap((100, 200, 300), (8.0, 2.0, 2.0)) == 200.0
    assert distance_cap((10, 200, 300), (8.0, 2.0, 2.0)) == 40.0
    assert distance_cap((10, 4, 300), (8.0, 2.0, 2.0)) == 4.0


def test_what_is_missing_or_far_gets_the_cap():
    truth, prediction = np.zeros((4, 6, 40), np.uint8), np.zeros((4, 6, 40), np.uint8)
    truth[0, 0, 0], prediction[0, 0, 39] = 1, 1
    truth[3, 3, 3] = 2
    assert hausdorff_distances(truth, prediction, (8, 4, 4)).tolist() == [12.0, 12.0]
    assert hausdorff_distances(truth, prediction, (8, 4, 4), max_distance=1e9).tolist() == [156.0, 1e9]


@pytest.mark.parametrize("voxel_size", [(8.0, 8.0, 8.0), (5.24, 4.0, 3.24)])
def test_distances_are_those_of_the_sets_of_centres(voxel_size):
    rng = np.random.default_rng(4)
    truth, prediction = (rng.integers(0, 4, (6, 7, 8)).astype(np.uint8) for _ in range(2))
    found = hausdorff_distances(truth, prediction, voxel_size, max_distance=1e9)
    for number, value in zip((1, 2, 3), found, strict=True):
        one, two = (np.argwhere(volume == number) * voxel_size for volume in (truth, prediction))
        expected = max(directed_hausdorff(one, two)[0], directed_hausdorff(two, one)[0])
        assert value == pytest.approx(expected, rel=1e-6)


def test_a_distance_of_one_voxel_costs_one_step_of_the_base():
    diagonal = float(np.linalg.norm((8.0, 4.0, 4.0)))
    values = normalise_distances(np.array([0.0, diagonal, 100 * diagonal]), (8.0, 4.0, 4.0))
    assert values.tolist() == pytest.approx([1.0, 1 / 1.01, 1.01**-100])
