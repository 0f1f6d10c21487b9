import numpy as np
import pytest

from csc_data.errors import InvalidArgumentError
from csc_data.synthetic import AnnotatedImage, choose_bands, predict_bands

VOXEL_SIZE = (8.0, 8.0, 8.0)


def annotated(raw, **labels):
    return AnnotatedImage(raw=raw, voxel_size=VOXEL_SIZE, labels=labels)


def test_finds_the_best_of_all_bands():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 12, (4, 5, 6)).astype(np.uint8) for _ in range(3)]
    labels = [rng.random(raw.shape) < 0.2 + 0.05 * raw for raw in images]
    band = choose_bands(
        [annotated(raw, pm=label) for raw, label in zip(images, labels, strict=True)], ["pm"], sigmas_nm=[0]
    )["pm"]
    every, truth = np.stack(images), np.stack(labels)

    def iou(low, high):
        inside = (every >= low) & (every <= high)
        return (inside & truth).sum() / (inside | truth).sum()

    best = max(iou(low, high) for low in range(12) for high in range(low, 12))
    assert band.iou == pytest.approx(best)
    assert iou(band.low, band.high) == pytest.approx(best)


def test_blurs_where_that_helps():
    rng = np.random.default_rng(1)
    truth = np.zeros((24, 24, 24), bool)
    truth[6:18, 6:18, 6:18] = True
    raw = np.clip(np.where(truth, 100, 140) + rng.normal(0, 30, truth.shape), 0, 255).astype(np.uint8)
    band = choose_bands([annotated(raw, mito=truth)], ["mito"])["mito"]
    assert band.sigma_nm > 0
    predicted = predict_bands(raw, VOXEL_SIZE, {"mito": band})["mito"]
    assert predicted.dtype == np.uint8
    assert (predicted[truth].mean(), predicted[~truth].mean()) == (pytest.approx(1, abs=0.1), pytest.approx(0, abs=0.1))


def test_images_without_the_class_do_not_count():
    raw = np.full((4, 4, 4), 7, np.uint8)
    label = np.ones(raw.shape, np.uint8)
    images = [annotated(raw, pm=label), annotated(raw + np.uint8(50), er=label)]
    assert choose_bands(images, ["pm"])["pm"].iou == 1


def test_a_class_that_nobody_annotated_is_an_error():
    with pytest.raises(InvalidArgumentError, match="ves"):
        choose_bands([annotated(np.zeros((2, 2, 2), np.uint8), pm=np.ones((2, 2, 2)))], ["pm", "ves"])
