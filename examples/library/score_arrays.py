"""The challenge's score of numpy arrays, without files and without torch:  python score_arrays.py

It needs csc-eval alone. With arrays of your own, call `score_crops`, or the functions that it calls.
"""

import numpy as np

import csc_eval
from csc_data.challenge import get_instance_classes

VOXEL_SIZE = (8, 8, 8)  # nm, z, y, x


def score_crops(crops, voxel_size=VOXEL_SIZE):
    """Score pairs (truth, prediction) of arrays (z, y, x), by crop and class, as the leaderboard would.

    Instance classes hold one id an object, 0 is background; of all others a voxel above 0 is of the class.
    """
    scores = {}
    for crop, pairs in crops.items():
        scores[crop] = {}
        for name, (truth, prediction) in pairs.items():
            score = csc_eval.score_instances if name in get_instance_classes() else csc_eval.score_semantic
            scores[crop][name] = score(truth, prediction, voxel_size=voxel_size)
    return csc_eval.combine_scores(scores)


def made_up():
    """Return two mitochondria that touch, found as one object, and reticulum that was found one voxel beside."""
    truth = np.zeros((24, 40, 40), np.uint16)
    truth[4:20, 4:18, 4:18], truth[4:20, 18:32, 4:18] = 1, 2
    truth[4:20, 4:30, 24:36] = 3
    er = np.zeros(truth.shape, bool)
    er[:, 34:37] = True
    return {"crop1": {"mito": (truth, csc_eval.connected_components(truth > 0)[0]), "er": (er, np.roll(er, 1, axis=1))}}


if __name__ == "__main__":
    found = score_crops(made_up())
    for class_name, score in found.classes.items():
        print(f"{class_name:8} {score.score:.3f}  {dict(score.metrics)}")
    print(f"overall  {found.overall_score:.3f}")

    # One class in detail: which truth belongs to which object, and further measures
    truth, prediction = made_up()["crop1"]["mito"]
    mito = csc_eval.score_instances(truth, prediction, VOXEL_SIZE, metrics=["pq", "vi_merge"])
    print(f"mito: {mito.tp} matched, {mito.fp} surplus, {mito.fn} lacking, {dict(mito.details)}")
