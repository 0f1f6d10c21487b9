import pytest

from csc_data.challenge import label_classes
from csc_data.volumes.affinities import class_of_affinities
from csc_data.volumes.channels import class_of_channel, name_of_output


@pytest.mark.parametrize("class_name", label_classes())
def test_a_class_is_told_from_what_lies_beside_it(class_name):
    pytest.importorskip("torch")  # of the loader, whose targets name them
    from csc_data.loader.targets import parse_targets

    assert class_of_channel(class_name) is None
    targets = parse_targets(
        {"far": "signed_distance", "edges": "boundaries", "near": {"kind": "affinities", "offsets": [[-1, 0, 12]]}}
    )
    for name, target in targets.items():
        (channel,) = target.channel_names([class_name])
        assert class_of_channel(channel) == class_name
        assert class_of_channel(name_of_output(channel, "other/é")) == class_name
        assert (class_of_affinities(channel) == class_name) is (name == "near")
    assert class_of_channel(name_of_output(class_name, "more")) == class_name


def test_names_of_outputs_can_name_folders():
    assert name_of_output("mito", "../a b") == "mito_of_---a-b"
