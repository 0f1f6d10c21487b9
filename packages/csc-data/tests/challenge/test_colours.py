"""Colours of classes that are drawn together are told apart, also by those who lack a kind of cones."""

import itertools

import numpy as np

from csc_data.challenge import label_classes
from csc_data.challenge.colours import class_colour

# Of linear RGB; severity 1.0 in Machado, Oliveira and Fernandes, IEEE TVCG 15, 2009.
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
SEEN = {"all cones": np.eye(3), "no red cones": np.array(PROTANOPIA), "no green cones": np.array(DEUTERANOPIA)}


def nearest(names, seen):
    """Return the least distance in OKLab between the colours of two classes."""
    rgb = np.array([class_colour(name) for name in names]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    cones = np.clip(linear @ seen.T, 0, 1) @ np.array(
        [[0.4122214708, 0.2119034982, 0.0883024619], [0.5363325363, 0.6806995451, 0.2817188376],
         [0.0514459929, 0.1073969566, 0.6299787005]]
    )  # fmt: skip
    lab = np.cbrt(cones) @ np.array(
        [[0.2104542553, 1.9779984951, 0.0259040371], [0.7936177850, -2.4285922050, 0.7827717662],
         [-0.0040720468, 0.4505937099, -0.8086757660]]
    )  # fmt: skip
    return min(float(np.linalg.norm(one - other)) for one, other in itertools.combinations(lab, 2))


def test_classes_that_are_mostly_drawn_together_are_far_apart_for_everybody():
    main = ("mito", "er", "nuc", "ves", "ld", "pm", "ecs", "golgi", "endo", "lyso", "mt", "ne", "perox", "np")
    for words, seen in SEEN.items():
        assert nearest(main, seen) > 0.07, words


def test_all_classes_are_told_apart():
    # A just noticeable difference is about 0.02.
    for words, seen in SEEN.items():
        assert nearest(list(label_classes()), seen) > 0.03, words


def test_a_class_that_the_challenge_does_not_have_has_a_colour_that_stays():
    assert class_colour("my_class") == class_colour("my_class")
    assert len({class_colour(f"class_{number}") for number in range(20)}) == 20
