"""Files of other programs become networks that give what their own do, and descriptions that predict.

`data/foreign_networks.json` holds names, shapes and outputs of the packages' own networks, for weights by formula;
``benchmarks/foreign.py`` compares files that the packages write.
"""

import json
import math
import pickle
from collections import OrderedDict
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from csc_models import (
    CheckpointError,
    CheckpointMismatchError,
    CheckpointReadError,
    ModelArgumentError,
    create_model,
    load_foreign,
)
from csc_models.checkpoint import load_checkpoint, save_checkpoint
from csc_models.foreign import ForeignHints

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "foreign_networks.json").read_text())
SMALL = ForeignHints(model="2d_unet_s", arguments={"width": 4, "depth": 2}, classes=("mito", "er"))
RESENC = ForeignHints(model="3d_resenc_unet", arguments={"features": [4, 8, 16], "blocks": [1, 2, 2]})


def by_formula(name, shape):
    phase = sum(ord(letter) for letter in name) % 97
    values = 0.3 * torch.sin(1.7 * torch.arange(math.prod(shape), dtype=torch.float64) + phase)
    return (values + (len(shape) == 1 and name.endswith("weight"))).reshape(shape).float()


def their_state(name):
    """The weights as the package's network has them: one tensor may have several names."""
    golden = GOLDEN[name]
    state = {key: by_formula(key, shape) for key, shape in golden["shapes"].items() if key not in golden["same"]}
    return {key: state[golden["same"].get(key, key)] for key in golden["shapes"]}


@torch.no_grad()
def outputs(model, golden):
    return model(by_formula("input", (1, 1, *golden["input"])))


def small():
    return create_model("2d_unet_s", n_channels=1, n_classes=2, width=4, depth=2).eval()


def same_outputs(one, other, shape=(1, 1, 16, 16)):
    x = torch.rand(shape)
    with torch.no_grad():
        return torch.equal(one(x), other(x))


class TestOutputsAreThoseOfTheirPackages:
    def test_networks_of_nnunet(self, tmp_path):
        torch.save(their_state("resenc"), tmp_path / "a.pth")
        hints = ForeignHints(model=RESENC.model, arguments=RESENC.arguments, classes=("a", "b", "c"))
        loaded = load_foreign(tmp_path / "a.pth", hints)
        self.compare(loaded.model, "resenc")
        assert "heads that are only trained were left out: decoder.seg_layers.0" in loaded.notes

    @pytest.mark.parametrize("name", ["mednext_2d", "mednext_3d"])
    def test_mednext_is_recognised_by_its_shapes(self, name, tmp_path):
        torch.save({"state_dict": their_state(name)}, tmp_path / "a.pth")
        loaded = load_foreign(tmp_path / "a.pth")
        self.compare(loaded.model, name)
        assert loaded.kind == "the authors' MedNeXt"
        assert loaded.description.model_arguments["size"] == "s"

    def compare(self, model, name):
        found = outputs(model, GOLDEN[name]).flatten()[GOLDEN[name]["index"]]
        torch.testing.assert_close(found, torch.tensor(GOLDEN[name]["value"]), atol=1e-5, rtol=1e-5)


def plans(**more):
    golden = GOLDEN["resenc"]["shapes"]
    assert golden["encoder.stem.convs.0.conv.weight"] == [4, 1, 3, 3, 3]
    architecture = {
        "n_stages": 3, "features_per_stage": [4, 8, 16], "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * 3, "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
        "n_blocks_per_stage": [1, 2, 2], "n_conv_per_stage_decoder": [1, 1], "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }  # fmt: skip
    name = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    return {
        "transpose_forward": [0, 1, 2],
        "original_median_spacing_after_transp": [16.0, 8.0, 4.0],
        "foreground_intensity_properties_per_channel": {
            "0": {
                "mean": 100.0,
                "std": 50.0,
                "min": 0.0,
                "max": 255.0,
                "percentile_00_5": 5.0,
                "percentile_99_5": 250.0,
            }
        },
        "configurations": {
            "base": {
                "patch_size": [16, 24, 32],
                "spacing": [16.0, 8.0, 4.0],
                "normalization_schemes": ["ZScoreNormalization"],
                "architecture": {"network_class_name": name, "arch_kwargs": architecture},
            },
            "3d_fullres": {"inherits_from": "base", **more},
        },
    }


DATASET = {"channel_names": {"0": "EM"}, "labels": {"background": 0, "er": 2, "mito": 1}}


def save_nnunet(path, plans=None, dataset=DATASET, **more):
    told = {"configuration": "3d_fullres", "fold": 0, "device": torch.device("cpu")}
    if plans is not None:
        told |= {"plans": plans, "dataset_json": dataset}
    extra = {"logging": {"dice": [np.float64(0.5)]}, "_best_ema": np.float32(0.5), "trainer_name": "nnUNetTrainer"}
    torch.save({"network_weights": their_state("resenc"), "init_args": told, **extra, **more}, path)


class TestNnunet:
    def test_plans_say_all(self, tmp_path):
        save_nnunet(tmp_path / "checkpoint_final.pth", plans())
        loaded = load_foreign(tmp_path / "checkpoint_final.pth")
        assert loaded.kind == "nnU-Net v2, 3d_fullres"
        assert not loaded.lacking
        described = loaded.description
        assert described.model_name == "3d_resenc_unet"
        assert described.classes == ("mito", "er")  # by their numbers
        assert described.input_arrays == {"raw": {"shape": [16, 24, 32], "scale": [16.0, 8.0, 4.0]}}
        assert described.raw_range == pytest.approx((-2.0, 3.1))
        assert any("the mean of each image" in note for note in loaded.notes)

    def test_the_softmax_is_that_of_exclusive_classes(self, tmp_path):
        save_nnunet(tmp_path / "a.pth", plans())
        loaded = load_foreign(tmp_path / "a.pth")
        assert loaded.description.values == "exclusive"
        found = outputs(loaded.model, GOLDEN["resenc"])
        both = torch.cat([torch.zeros_like(found[:, :1]), found], 1).softmax(1)
        with_background = create_model(
            "3d_resenc_unet", n_channels=1, n_classes=3, features=(4, 8, 16), blocks=(1, 2, 2)
        ).eval()
        state = their_state("resenc")
        with_background.load_state_dict({key: state[key] for key in with_background.state_dict()})
        torch.testing.assert_close(both, outputs(with_background, GOLDEN["resenc"]).softmax(1), atol=1e-5, rtol=1e-5)

    def test_a_checkpoint_of_ours_comes_of_it(self, tmp_path):
        save_nnunet(tmp_path / "a.pth", plans())
        loaded = load_foreign(tmp_path / "a.pth")
        save_checkpoint(tmp_path / "b.pth", loaded.model, description=loaded.description)
        again = load_checkpoint(tmp_path / "b.pth")
        assert again.description == loaded.description
        assert torch.equal(outputs(again.model, GOLDEN["resenc"]), outputs(loaded.model, GOLDEN["resenc"]))
        with pytest.raises(CheckpointError, match="is a checkpoint of csc-models already"):
            load_foreign(tmp_path / "b.pth")

    def test_plans_beside_the_file_and_above(self, tmp_path):
        (tmp_path / "fold_0").mkdir()
        save_nnunet(tmp_path / "fold_0" / "a.pth")
        with pytest.raises(CheckpointError, match=r"has no plans.*--plans FILE"):
            load_foreign(tmp_path / "fold_0" / "a.pth")
        (tmp_path / "plans.json").write_text(json.dumps(plans()))
        (tmp_path / "fold_0" / "dataset.json").write_text(json.dumps(DATASET))
        assert load_foreign(tmp_path / "fold_0" / "a.pth").description.classes == ("mito", "er")

    def test_regions_have_a_sigmoid_each_and_what_is_ignored_has_no_channel(self, tmp_path):
        labels = {"background": 0, "cell": [1, 2, 3], "mito": [2], "er": 3, "ignore": 4}
        save_nnunet(tmp_path / "a.pth", plans(), {"channel_names": {"0": "EM"}, "labels": labels})
        described = load_foreign(tmp_path / "a.pth").description
        assert (described.classes, described.values) == (("cell", "mito", "er"), "logit")

    def test_axes_in_another_order_are_turned(self, tmp_path):
        """Kernels of one size and strides of two: what the turned network gives is what the plain one gives, turned."""
        turned = {**plans(), "transpose_forward": [2, 0, 1]}
        save_nnunet(tmp_path / "a.pth", turned)
        save_nnunet(tmp_path / "b.pth", plans())
        found, plain = load_foreign(tmp_path / "a.pth"), load_foreign(tmp_path / "b.pth")
        assert found.description.input_arrays == {"raw": {"shape": [24, 32, 16], "scale": [8.0, 4.0, 16.0]}}
        x = torch.rand(1, 1, 8, 16, 12)
        with torch.no_grad():
            expected = plain.model(x.permute(0, 1, 4, 2, 3)).permute(0, 1, 3, 4, 2)
            torch.testing.assert_close(found.model(x), expected, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize(
        ("more", "raw_range", "words"),
        [
            ({"normalization_schemes": ["CTNormalization"]}, (-2.0, 3.1), "cuts it off below 5 and above 250"),
            ({"normalization_schemes": ["RescaleTo01Normalization"]}, (0.0, 1.0), "of each image"),
            ({"normalization_schemes": ["NoNormalization"]}, (0.0, 255.0), "not scaled"),
            ({"normalization_schemes": ["OwnNormalization"]}, None, "--raw-range"),
        ],
    )
    def test_normalisation_is_told(self, more, raw_range, words, tmp_path):
        save_nnunet(tmp_path / "a.pth", plans(**more))
        loaded = load_foreign(tmp_path / "a.pth")
        assert loaded.description.raw_range == (raw_range and pytest.approx(raw_range))
        assert any(words in note for note in loaded.notes)
        assert loaded.lacking == (() if raw_range else ("raw_range",))

    def test_a_spacing_that_cannot_be_in_nm_is_asked_for(self, tmp_path):
        save_nnunet(tmp_path / "a.pth", plans(spacing=[1.0, 1.0, 1.0]))
        assert load_foreign(tmp_path / "a.pth").lacking == ("voxel_size",)
        given = load_foreign(tmp_path / "a.pth", ForeignHints(voxel_size=(8, 8, 8)))
        assert not given.lacking
        assert given.description.input_arrays["raw"]["scale"] == [8, 8, 8]

    @pytest.mark.parametrize(
        ("plan", "words"),
        [
            (plans(previous_stage="3d_lowres"), "cascade"),
            (plans(inherits_from="3d_fullres"), "inherits from itself"),
            ({"configurations": {"2d": {}, "other": {}}}, "no configuration '3d_fullres': 2d, other"),
            ({"configurations": 3}, "not as nnU-Net v2 writes them"),
            (plans(patch_size="large"), "not as nnU-Net v2 writes them"),
        ],
    )
    def test_plans_that_cannot_be_used_are_told(self, plan, words, tmp_path):
        save_nnunet(tmp_path / "a.pth", plan)
        with pytest.raises(CheckpointError, match=words):
            load_foreign(tmp_path / "a.pth")

    def test_plans_for_networks_without_end_are_refused(self, tmp_path):
        plan = plans()
        plan["configurations"]["base"]["architecture"]["arch_kwargs"]["n_blocks_per_stage"] = [1, 2, 10**9]
        save_nnunet(tmp_path / "a.pth", plan)
        with pytest.raises(CheckpointError, match="n_blocks_per_stage = 1,000,000,003"):
            load_foreign(tmp_path / "a.pth")

    def test_weights_of_another_plan_are_named(self, tmp_path):
        plan = plans()
        plan["configurations"]["base"]["architecture"]["arch_kwargs"]["features_per_stage"] = [4, 8, 10**6]
        save_nnunet(tmp_path / "a.pth", plan)
        with pytest.raises(CheckpointMismatchError, match="in the file"):
            load_foreign(tmp_path / "a.pth")


class TestMednext:
    TRAINER = MappingProxyType({"epoch": 1, "plot_stuff": (), "best_stuff": (None,), "optimizer_state_dict": {}})

    def test_plans_of_the_trainers_are_read(self, tmp_path):
        torch.save({"state_dict": their_state("mednext_3d"), **self.TRAINER}, tmp_path / "model_best.model")
        stage = {"patch_size": np.array([16, 32, 48]), "current_spacing": np.array([8.0, 4.0, 4.0])}
        plan = {
            "plans_per_stage": {0: stage}, "transpose_backward": [0, 1, 2],
            "normalization_schemes": OrderedDict({0: "CT"}),
            "dataset_properties": {"intensityproperties": OrderedDict({0: {"mean": np.float32(100), "sd": 50.0}})},
        }  # fmt: skip
        info = OrderedDict(init=("plans.pkl", 0, "out", "data", True, 0), name="nnUNetTrainerV2_MedNeXt", plans=plan)
        (tmp_path / "model_best.model.pkl").write_bytes(pickle.dumps(info))
        loaded = load_foreign(tmp_path / "model_best.model", ForeignHints(classes=("mito", "er")))
        assert loaded.kind == "nnUNetTrainerV2_MedNeXt, of nnU-Net's first version"
        assert not loaded.lacking
        assert loaded.description.values == "exclusive"
        assert loaded.description.raw_range == pytest.approx((-2.0, 3.1))
        assert loaded.description.input_arrays == {"raw": {"shape": [16, 32, 48], "scale": [8.0, 4.0, 4.0]}}

    def test_without_plans_the_softmax_is_known_and_classes_are_asked_for(self, tmp_path):
        torch.save({"state_dict": their_state("mednext_2d"), **self.TRAINER}, tmp_path / "a.model")
        with pytest.raises(CheckpointError, match="a softmax of a background and 2 classes"):
            load_foreign(tmp_path / "a.model")
        assert load_foreign(tmp_path / "a.model", ForeignHints(classes=("a", "b"))).description.values == "exclusive"

    def test_variants_that_there_are_not_here_are_told(self, tmp_path):
        state = their_state("mednext_2d")
        torch.save({**state, "enc_block_0.0.grn_beta": torch.zeros(1)}, tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match="GRN"):
            load_foreign(tmp_path / "a.pth")
        torch.save(
            {key: value for key, value in state.items() if not key.startswith("enc_block_0.1")}, tmp_path / "a.pth"
        )
        with pytest.raises(CheckpointError, match="none of the published sizes"):
            load_foreign(tmp_path / "a.pth")


class TestStateDicts:
    @pytest.mark.parametrize(
        ("name", "prefix"),
        [
            ("net", ""), ("network", "module."), ("ema", "_orig_mod."), ("weights", "module._orig_mod."),
            ("params", "net."), ("state_dict", "model.unet."), ("model_state_dict", ""),
        ],
    )  # fmt: skip
    def test_under_any_name_with_any_prefix(self, name, prefix, tmp_path):
        network = small()
        state = {prefix + key: value for key, value in network.state_dict().items()}
        moments = {"state": {0: {"exp_avg": torch.zeros(3)}}}
        torch.save({name: state, "optimizer": moments, "args": Path("runs/1")}, tmp_path / "a.pth")
        loaded = load_foreign(tmp_path / "a.pth", SMALL)
        assert same_outputs(loaded.model, network)
        assert loaded.description.classes == ("mito", "er")

    def test_lightning(self, tmp_path):
        """Losses and metrics stand beside the network; hyper-parameters are told and not used."""
        network = small()
        state = {f"net.{key}": value for key, value in network.state_dict().items()}
        state |= {"loss.weight": torch.ones(2), "metric.total": torch.tensor(0.0)}
        saved = {
            "state_dict": state,
            "pytorch-lightning_version": "2.6.6",
            "hyper_parameters": {"width": 4, "lr": 1e-3},
        }
        torch.save(saved, tmp_path / "a.ckpt")
        loaded = load_foreign(tmp_path / "a.ckpt", SMALL)
        assert same_outputs(loaded.model, network)
        assert loaded.kind == "a checkpoint of Lightning"
        assert "its hyper_parameters, of which nothing was used: width=4, lr=0.001" in loaded.notes
        assert "the weights stand under 'state_dict.net'" in loaded.notes

    def test_averaged_model(self, tmp_path):
        network = small()
        averaged = AveragedModel(network)
        averaged.update_parameters(network)
        torch.save(averaged.state_dict(), tmp_path / "a.pth")
        assert same_outputs(load_foreign(tmp_path / "a.pth", SMALL).model, network)

    def test_of_two_sets_of_weights_one_is_named(self, tmp_path):
        first, second = small(), small()
        torch.save({"network": first.state_dict(), "ema": second.state_dict()}, tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match=r"several weights of this network: network, ema.*--part"):
            load_foreign(tmp_path / "a.pth", SMALL)
        hints = ForeignHints(model=SMALL.model, arguments=SMALL.arguments, classes=SMALL.classes, part="ema")
        assert same_outputs(load_foreign(tmp_path / "a.pth", hints).model, second)

    def test_a_softmax_with_a_background_anywhere(self, tmp_path):
        network = create_model("2d_unet_s", n_channels=1, n_classes=3, width=4, depth=2).eval()
        torch.save(network.state_dict(), tmp_path / "a.pth")
        hints = ForeignHints(
            model="2d_unet_s", arguments=SMALL.arguments, classes=("mito", "background", "er"), values="exclusive"
        )
        loaded = load_foreign(tmp_path / "a.pth", hints)
        assert loaded.description.classes == ("mito", "er")
        x = torch.rand(1, 1, 16, 16)
        with torch.no_grad():
            found, expected = loaded.model(x), network(x).softmax(1)[:, [0, 2]]
        both = torch.cat([found, torch.zeros_like(found[:, :1])], 1).softmax(1)[:, :2]
        torch.testing.assert_close(both, expected, atol=1e-5, rtol=1e-5)

    def test_networks_of_the_challenge_are_recognised(self, tmp_path):
        network = create_model("2d_unet", n_channels=1, n_classes=2, width=4).eval()
        state = {f"model.{key}": value for key, value in network.state_dict().items()}
        torch.save({"state_dict": state}, tmp_path / "a.ckpt")
        loaded = load_foreign(tmp_path / "a.ckpt", ForeignHints(classes=("a", "b")))
        assert same_outputs(loaded.model, network, (1, 1, 32, 32))
        assert loaded.description.raw_range == (0.0, 255.0)
        assert loaded.lacking == ("patch", "voxel_size")

    def test_what_is_not_told_is_asked_for(self, tmp_path):
        torch.save(
            {"state_dict": {f"net.{key}": value for key, value in small().state_dict().items()}}, tmp_path / "a.pth"
        )
        with pytest.raises(CheckpointError, match=r"does not tell which network.*--model NAME"):
            load_foreign(tmp_path / "a.pth")
        with pytest.raises(ModelArgumentError, match="n_classes"):
            load_foreign(tmp_path / "a.pth", ForeignHints(model="2d_unet_s"))
        with pytest.raises(CheckpointError, match=r"3 classes were given .* gives 2 channels"):
            load_foreign(
                tmp_path / "a.pth",
                ForeignHints(model="2d_unet_s", arguments={**SMALL.arguments, "n_classes": 2}, classes=("a", "b", "c")),
            )

    def test_another_network_is_told_by_keys_and_shapes(self, tmp_path):
        torch.save({"state_dict": small().state_dict()}, tmp_path / "a.pth")
        with pytest.raises(CheckpointMismatchError, match=r"\(state_dict\).*in the file"):
            load_foreign(tmp_path / "a.pth", ForeignHints(model="2d_unet_s", classes=("a", "b")))

    def test_files_without_weights_are_told(self, tmp_path):
        torch.save({"epoch": 3, "optimizer": {"state": {}}}, tmp_path / "a.pth")
        with pytest.raises(CheckpointReadError, match="holds no weights; it holds: epoch, optimizer"):
            load_foreign(tmp_path / "a.pth", SMALL)
