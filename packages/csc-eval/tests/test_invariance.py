"""Scores depend on what is predicted, not on how it is stored, numbered or turned."""

import itertools

import numpy as np
import pytest

import csc_eval

FLIPS = [axes for n in range(1, 4) for axes in itertools.combinations(range(3), n)]


def same(one, two):
    """Equal in every number, the distance sum to the last bits of its float."""
    assert (one.tp, one.fp, one.fn, one.n_hausdorff, one.status) == (
        two.tp,
        two.fp,
        two.fn,
        two.n_hausdorff,
        two.status,
    )
    assert one.hausdorff_norm_sum == pytest.approx(two.hausdorff_norm_sum, rel=0, abs=1e-12)


@pytest.mark.parametrize("part", range(8))
def test_definition_is_blind_to_flips_and_numbers(part, random_pair):
    for seed in range(part * 25, (part + 1) * 25):
        rng = np.random.default_rng(seed)
        truth, prediction, voxel_size = random_pair(rng)
        truth = np.maximum(truth, 0).astype(np.int64)
        prediction = np.nan_to_num(prediction.astype(np.float64)).astype(np.int64)
        expected = csc_eval.score_instances(truth, prediction, voxel_size, rules="definition-2026-06")
        for axes in FLIPS:
            flipped = csc_eval.score_instances(
                np.flip(truth, axes), np.flip(prediction, axes), voxel_size, rules="definition-2026-06"
            )
            same(flipped, expected)
        # New numbers, but the same set of truth ids: the cut-off looks at the largest.
        ids = np.unique(truth[truth > 0])
        renamed = truth.copy()
        for old, new in zip(ids, rng.permutation(ids), strict=True):
            renamed[truth == old] = new
        other = np.where(prediction != 0, prediction * 7 + 1000, 0)
        same(csc_eval.score_instances(renamed, other, voxel_size, rules="definition-2026-06"), expected)


def test_leaderboard_does_depend_on_flips(golden):
    """The quirk that the definition is free of; if this fails, the tests above cannot fail either."""
    nodes = {n["path"].split(".")[0]: n for n in golden.cases["e21_id_collision"]["nodes"] if "array" in n}
    truth, prediction = (golden.array(nodes[name]["array"]) for name in ("ground_truth", "submission"))
    there = csc_eval.score_instances(truth, prediction, (8, 8, 8))
    back = csc_eval.score_instances(truth[::-1], prediction[::-1], (8, 8, 8))
    assert there.hausdorff_norm_sum != pytest.approx(back.hausdorff_norm_sum, abs=1e-3)


@pytest.mark.parametrize(
    "how",
    [
        {"chunks": (128, 128, 128)},
        {"chunks": (50, 40, 30), "separator": "/"},
        {"chunks": (1, 128, 128), "compressor": "blosc"},
        {"chunks": (7, 128, 64), "compressor": None},
        {"chunks": (64, 64, 64), "compressor": "zstd"},
        {"chunks": (128, 64, 33), "compressor": "lz4", "skip_empty": False},
        {"chunks": (60, 60, 60), "compressor": "bz2"},
    ],
    ids=str,
)
def test_chunking_and_compression_do_not_matter(golden, how, tmp_path):
    submission, truth = golden.write("m1_voronoi_128", tmp_path, **how)
    score = csc_eval.score_submission(submission, truth).crops["crop562"]
    official = golden.cases["m1_voronoi_128"]["labels"]
    for name, label in score.items():
        for field in ("tp", "fp", "fn"):
            assert getattr(label, field) == official[f"crop562/{name}"]["score"][field]
    expected = official["crop562/cell"]["score"]["hausdorff_norm_sum"]
    assert score["cell"].hausdorff_norm_sum == pytest.approx(expected, rel=0, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_storage_order_matters_only_for_the_leaderboards_numbers(seed, random_pair, write_array, tmp_path):
    rng = np.random.default_rng(seed)
    truth, prediction, voxel_size = random_pair(rng)
    truth = truth.astype("u4")
    place = {"voxel_size": list(voxel_size), "translation": [0.0, 0.0, 0.0]}
    rules = ("definition-2026-06", "leaderboard-2026-06")
    results = {}
    for order in "CF":
        folder = tmp_path / order
        chunks = [max(1, n // 2) for n in truth.shape]
        write_array(folder / "t.zarr/crop1/mito", truth, attributes=place, order=order, chunks=chunks)
        write_array(folder / "s.zarr/crop1/mito", prediction, attributes=place, order=order, chunks=chunks)
        found = csc_eval.score_submission(folder / "s.zarr", folder / "t.zarr", rules=rules)
        results[order] = [result.crops["crop1"]["mito"] for result in (found, *found.alternatives)]
    same(results["C"][0], results["F"][0])
    in_memory = csc_eval.score_instances(truth, np.asfortranarray(prediction), voxel_size)
    same(results["F"][1], in_memory)
