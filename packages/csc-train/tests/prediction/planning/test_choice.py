import pytest
from torch import nn

from csc_data.errors import InvalidArgumentError
from csc_data.geometry import Grid, Roi
from csc_train import TrainSettings
from csc_train.prediction.planning.choice import ArrayChoice
from csc_train.prediction.planning.regions import PredictRegion
from csc_train.prediction.predictor import load_predictor

GRID = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(10, 20, 30))
LINKS = {"kind": "affinities", "offsets": [[0, 0, -1], [2, 0, 0]]}
OF_MITO = ("mito_affinity_0_0_-1", "mito_affinity_2_0_0")
OF_ER = ("er_affinity_0_0_-1", "er_affinity_2_0_0")
FAR = ("mito_distance", "er_distance")


def predictor(*, shape=(8, 8, 8), targets=None, **options):
    settings = TrainSettings(
        classes=("mito", "er"),
        model=nn.Identity(),
        input_array_info={"shape": shape, "scale": (8, 8, 8)},
        targets=targets or {"output": "binary", "links": LINKS, "far": "signed_distance"},
        criterion={"output": "bce", "links": "bce", "far": "mse"} if targets is None else "bce",
    )
    return load_predictor(settings, checkpoint="untrained", device="cpu", **options)


def region(*classes, grid=GRID):
    return PredictRegion(dataset="a", name="crop1", raw="", roi=Roi((0, 0, 0), (8, 8, 8)), grid=grid, classes=classes)


def test_a_class_that_counts_brings_its_affinities_and_nothing_else():
    choice = ArrayChoice(predictor=predictor())
    assert choice.of(region("mito", "nuc")) == ("mito", *OF_MITO)
    assert choice.of(region("nuc")) == ()
    (note,) = choice.notes([region("mito", "nuc")])
    assert note == "the network lacks 1 of 2 classes that are scored or annotated: nuc"
    anywhere = PredictRegion(dataset="a", name="box", raw="", roi=Roi((0, 0, 0), (8, 8, 8)))
    assert choice.of(anywhere) == ("mito", "er", *OF_MITO, *OF_ER)


def test_affinities_alone_are_written_for_their_class():
    alone = predictor(targets={"links": LINKS})
    assert alone.arrays == (*OF_MITO, *OF_ER)
    assert ArrayChoice(predictor=alone).of(region("er")) == OF_ER


def test_what_is_named_is_written_and_all_is_all():
    named = ArrayChoice(predictor=predictor(classes_to_write=("er_distance", "mito")))
    assert named.of(region("er")) == ("mito", "er_distance")
    everything = ArrayChoice(predictor=predictor(all_classes=True))
    assert everything.of(region("er")) == ("mito", "er", *OF_MITO, *OF_ER, *FAR)


def test_an_output_on_other_voxels_is_left_out_with_a_line():
    settings = TrainSettings(
        classes=("mito",),
        model=nn.Identity(),
        input_array_info={"shape": (8, 8, 8), "scale": (8, 8, 8)},
        further_targets={"coarse": {"shape": (4, 4, 4), "scale": (16, 16, 16)}},
    )
    choice = ArrayChoice(predictor=load_predictor(settings, checkpoint="untrained", device="cpu", all_classes=True))
    assert choice.of(region("mito")) == ("mito",)
    assert choice.notes([region("mito")]) == ["left out the output coarse: it has other voxels than the first"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tta": "mirror"}, "turned patches mix .leave tta out"),
        ({"shape": (1, 8, 8)}, "set orthoplanes = False"),
        ({"output": "mask"}, "masks say where a class is"),
    ],
)
def test_affinities_that_would_lose_their_meaning_are_not_written(options, words):
    choice = ArrayChoice(predictor=predictor(**options))
    assert choice.of(region("mito")) == ("mito",)
    (note,) = choice.notes([region("mito")])
    assert note.startswith("left out mito_affinity_0_0_-1, mito_affinity_2_0_0: ")
    with pytest.raises(InvalidArgumentError, match=f"mito_affinity_2_0_0 cannot be written: .*{words}"):
        ArrayChoice(predictor=predictor(**options, classes_to_write=("mito", "mito_affinity_2_0_0")))


def test_affinities_keep_the_size_of_the_networks_voxels():
    same, coarse = (
        region("mito"),
        region("mito", grid=Grid(voxel_size=(16, 16, 16), translation=(8,) * 3, shape=(5,) * 3)),
    )
    choice = ArrayChoice(predictor=predictor(output_grid="crop"))
    assert choice.of(same) == ("mito", *OF_MITO)
    assert choice.of(coarse) == ("mito",)
    assert "set output_grid = 'target'" in choice.notes([coarse])[0]
    named = ArrayChoice(predictor=predictor(output_grid="crop", classes_to_write=OF_MITO))
    with pytest.raises(InvalidArgumentError, match="among the network's voxels"):
        named.of(coarse)


def test_a_misspelt_name_is_told():
    with pytest.raises(InvalidArgumentError, match="no class mitto: did you mean mito"):
        ArrayChoice(predictor=predictor(classes_to_write=("mitto",)))
