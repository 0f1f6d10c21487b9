import json
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import csc_models
from csc_models import (
    ModelArgumentError,
    ModelError,
    ModelSpec,
    SizeRule,
    UnknownModelError,
    create_model,
    describe_model,
    list_models,
    model_card,
    model_spec,
    register_model,
)
from csc_models.checkpoint import load_checkpoint, save_checkpoint
from csc_models.nets.compact_unet import CompactUNet
from csc_models.nets.planned_unet import PlainUNet


class TestCreate:
    def test_unknown_name_has_the_nearest_one(self):
        with pytest.raises(UnknownModelError, match="did you mean '3d_unet_s'") as caught:
            create_model("3d_unt_s", n_channels=1, n_classes=1)
        assert isinstance(caught.value, ModelError)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

    def test_unknown_argument_has_the_nearest_one(self):
        with pytest.raises(ModelArgumentError, match="no argument 'n_clases' \\(did you mean 'n_classes'\\?\\)"):
            create_model("3d_unet_s", n_channels=1, n_clases=1)

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ({"n_classes": 2.0}, "n_classes=2.0 is not of type int"),
            ({"n_classes": True}, "n_classes=True is not of type int"),
            ({"norm": "layer"}, "norm='layer' is not one of 'group', 'instance', 'batch'"),
            ({"gradient_checkpointing": 1}, "gradient_checkpointing=1 is not of type bool"),
            ({"width": 0}, "width=0 must be at least 1"),
            ({"ndim": 2}, "no argument 'ndim'"),
        ],
    )
    def test_wrong_values_are_named(self, wrong, words):
        with pytest.raises(ModelArgumentError, match=words):
            create_model("3d_unet_s", **{"n_channels": 1, "n_classes": 1, **wrong})

    def test_numbers_of_numpy_are_pythons(self, tmp_path):
        given = {
            "n_channels": np.int64(1),
            "n_classes": np.uint8(2),
            "features": np.array([4, 8]),
            "slope": np.float32(0.5),
        }
        more = {"blocks": np.int32(1), "strides": [np.int16(1), [np.int64(1), 2]], "deep_supervision": np.bool_(True)}
        by_name = create_model("2d_plain_unet", **given, **more)
        by_class = PlainUNet(ndim=np.int64(2), **given, **more)
        for model in (by_name, by_class):
            arguments = describe_model(model).arguments
            assert arguments["strides"] == [1, [1, 2]]
            assert json.loads(json.dumps(arguments)) == arguments
            save_checkpoint(tmp_path / "net.pth", model)
            assert describe_model(load_checkpoint(tmp_path / "net.pth").model).arguments == arguments
        with pytest.raises(ModelArgumentError, match=r"n_classes=2\.0 is not of type int"):
            create_model("3d_unet_s", n_channels=1, n_classes=np.float64(2.0))

    def test_all_wrong_arguments_are_reported_together(self):
        with pytest.raises(ModelArgumentError, match=r"n_channels is missing.*n_classes='a'.*width=None"):
            create_model("3d_unet_s", n_classes="a", width=None)


class TestList:
    def test_all_names_are_sorted_and_can_be_built(self):
        names = list_models()
        assert names == sorted(set(names))
        own = [name for name in names if model_spec(name).extra is None]  # the others are built in nets/test_monai_nets
        assert all(model_card(name).name == name for name in own)

    def test_filter_by_pattern_and_by_part(self):
        assert list_models("2d_*") == [name for name in list_models() if name.startswith("2d_")]
        assert "3d_unet_s" in list_models("unet")
        assert list_models("no such net") == []


class TestCard:
    def test_says_what_the_built_model_has(self):
        card = model_card("3d_unet_s", n_channels=2, n_classes=5, width=8)
        model = create_model("3d_unet_s", n_channels=2, n_classes=5, width=8)
        assert card.parameters == sum(weights.numel() for weights in model.parameters())
        assert card.arguments["width"] == 8
        assert card.arguments["depth"] == 3
        for fact in ("3d_unet_s", f"{card.parameters:,}", f"{card.receptive_field} voxels", "any size from 8", "http"):
            assert fact in str(card)

    def test_misspelt_argument_is_an_error(self):
        with pytest.raises(ModelArgumentError, match="widht"):
            model_card("3d_unet_s", widht=8)


class TestDescribe:
    def test_class_and_catalogue_describe_alike(self):
        by_class = describe_model(CompactUNet(1, 4, ndim=3, width=4))
        by_name = describe_model(create_model("3d_unet_s", n_channels=1, n_classes=4, width=4))
        assert by_class == by_name
        assert by_class.name == "3d_unet_s"
        assert by_class.arguments["n_classes"] == 4

    def test_foreign_network_has_no_description(self):
        assert describe_model(nn.Conv3d(1, 1, 1)) is None


class TestRegister:
    def test_own_model_is_built_and_described(self, monkeypatch):
        monkeypatch.setattr(csc_models.catalog, "_SPECS", dict(csc_models.catalog._SPECS))

        def linear(features: int, n_channels: int, n_classes: int) -> nn.Module:
            return nn.Sequential(nn.Conv3d(n_channels, features, 1), nn.Conv3d(features, n_classes, 1))

        spec = ModelSpec(
            name="mine",
            builder=linear,
            summary="two layers",
            ndim=3,
            source="a test",
            sizes=lambda _: SizeRule(minimum=1, efficient_multiple=1),
            receptive_field=lambda _: 1,
        )
        register_model(spec)
        model = create_model("mine", features=3, n_channels=1, n_classes=2)
        assert model(torch.zeros(1, 1, 2, 2, 2)).shape == (1, 2, 2, 2, 2)
        assert describe_model(model).arguments == {"features": 3, "n_channels": 1, "n_classes": 2}

    def test_a_name_cannot_be_taken_twice(self, monkeypatch):
        monkeypatch.setattr(csc_models.catalog, "_SPECS", dict(csc_models.catalog._SPECS))
        spec = csc_models.model_spec("3d_unet_s")
        register_model(spec)
        other = ModelSpec(
            name=spec.name, builder=spec.builder, summary="", ndim=3, source="", sizes=spec.sizes,
            receptive_field=spec.receptive_field,
        )  # fmt: skip
        with pytest.raises(ModelArgumentError, match="exists already"):
            register_model(other)
