import copy

import pytest
import torch
from torch import nn

from csc_models import CheckpointError, ModelArgumentError, create_model, describe_model
from csc_models.checkpoint import (
    CheckpointDescription,
    ensemble_checkpoints,
    identify,
    load_checkpoint,
    save_checkpoint,
)
from csc_models.ensemble import Ensemble

DESCRIPTION = CheckpointDescription(
    classes=("mito", "er"),
    input_arrays={"raw": {"shape": (16, 16), "scale": (8.0, 8.0)}},
    raw_range=(0.0, 1.0),
)


class Fixed(nn.Module):
    """Gives the same logits whatever it sees."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits).reshape(1, -1, 1, 1))

    def forward(self, x):
        return self.logits.expand(x.shape[0], -1, *x.shape[2:]).to(x.dtype)


@pytest.fixture
def networks():
    made = []
    for seed, name in enumerate(("2d_unet_s", "2d_unet_s", "2d_resnet")):
        torch.manual_seed(seed)
        small = {"ngf": 4, "n_blocks": 1} if name == "2d_resnet" else {"width": 4}
        made.append(create_model(name, n_channels=1, n_classes=2, **small).eval())
    return made


@pytest.fixture
def files(networks, tmp_path):
    paths = [tmp_path / f"net_{index}.pth" for index in range(len(networks))]
    for path, network in zip(paths, networks, strict=True):
        save_checkpoint(path, network, description=DESCRIPTION)
    return paths


X = torch.rand(2, 1, 16, 20)


class TestMean:
    def test_of_probabilities_that_may_overlap(self, networks):
        expected = sum(torch.sigmoid(network(X)) for network in networks) / 3
        torch.testing.assert_close(torch.sigmoid(Ensemble(networks)(X)), expected)

    def test_of_probabilities_of_classes_that_exclude_each_other(self, networks):
        expected = sum(torch.softmax(network(X), 1) for network in networks) / 3
        torch.testing.assert_close(torch.softmax(Ensemble(networks, mean_of="softmax")(X), 1), expected)

    def test_of_outputs_with_weights(self, networks):
        expected = sum(share * network(X) for share, network in zip((0.5, 0.25, 0.25), networks, strict=True))
        torch.testing.assert_close(Ensemble(networks, mean_of="logits", weights=[2, 1, 1])(X), expected)
        probabilities = sum(s * torch.sigmoid(n(X)) for s, n in zip((0.5, 0.25, 0.25), networks, strict=True))
        torch.testing.assert_close(torch.sigmoid(Ensemble(networks, weights=[2, 1, 1])(X)), probabilities)

    def test_of_one_network_is_that_network(self, networks):
        torch.testing.assert_close(Ensemble(networks[:1])(X), networks[0](X))

    @pytest.mark.parametrize("value", [-200.0, -30.0, 0.0, 30.0, 200.0])
    def test_certain_networks_give_finite_logits_and_gradients(self, value):
        ensemble = Ensemble([Fixed([value, value]), Fixed([value, -value])])
        output = ensemble(X)
        assert output.isfinite().all()
        torch.testing.assert_close(output[:, 0], torch.full_like(output[:, 0], value))
        torch.testing.assert_close(output[:, 1], torch.zeros_like(output[:, 1]), atol=1e-4, rtol=0)
        output.sum().backward()
        assert all(weights.grad.isfinite().all() for weights in ensemble.parameters())

    def test_first_of_a_list_of_outputs_counts(self):
        torch.manual_seed(0)
        deep = create_model(
            "2d_resenc_unet", n_channels=1, n_classes=2, features=(4, 8, 8), blocks=(1, 1, 1), deep_supervision=True
        )
        torch.testing.assert_close(Ensemble([deep.eval()])(X), deep(X)[0])

    def test_half_precision_stays(self, networks):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert Ensemble(networks)(X).dtype == torch.bfloat16

    def test_gradients_reach_all_networks(self, networks):
        ensemble = Ensemble(networks).train()
        ensemble(X).square().mean().backward()
        assert all(weights.grad is not None for weights in ensemble.parameters())

    def test_wrong_use_is_named(self, networks):
        with pytest.raises(ModelArgumentError, match="at least one"):
            Ensemble([])
        with pytest.raises(ModelArgumentError, match="'mean' is not one of 'sigmoid', 'softmax', 'logits'"):
            Ensemble(networks, mean_of="mean")
        with pytest.raises(ModelArgumentError, match="one positive number for each of 3"):
            Ensemble(networks, weights=[1, 1])
        with pytest.raises(ModelArgumentError, match=r"give \(2, 2, 16, 20\) and \(2, 3, 16, 20\)"):
            Ensemble([networks[0], Fixed([0.0, 1.0, 2.0])])(X)


class TestCheckpoint:
    def test_one_file_rebuilds_the_ensemble(self, files, networks, tmp_path):
        out = tmp_path / "ensemble.pth"
        made = ensemble_checkpoints(files, out, weights=[1, 1, 2])
        loaded = load_checkpoint(out)
        assert not loaded.model.training
        assert torch.equal(loaded.model(X), made.model(X))
        assert torch.equal(loaded.model(X), Ensemble(networks, weights=[1, 1, 2])(X))
        assert loaded.description == made.description
        assert loaded.description.classes == ("mito", "er")
        assert loaded.description.raw_range == (0.0, 1.0)
        assert loaded.extra["ensemble"]["files"] == ["net_0.pth", "net_1.pth", "net_2.pth"]

    def test_safetensors(self, files, tmp_path):
        pytest.importorskip("safetensors", reason="needs csc-models[safetensors]")
        made = ensemble_checkpoints(files, tmp_path / "ensemble.safetensors", mean_of="softmax")
        assert torch.equal(load_checkpoint(tmp_path / "ensemble.safetensors").model(X), made.model(X))

    def test_identify_tells_the_members(self, files, tmp_path):
        ensemble_checkpoints(files, tmp_path / "ensemble.pth")
        identity = identify(tmp_path / "ensemble.pth")
        assert identity.problem == ""
        assert "ensemble" in str(identity)
        assert "2d_resnet" in str(identity)

    def test_copies_know_what_they_are(self, networks):
        description = describe_model(copy.deepcopy(Ensemble(networks)))
        assert description.name == "ensemble"
        assert [member["name"] for member in description.arguments["members"]] == [
            "2d_unet_s", "2d_unet_s", "2d_resnet",
        ]  # fmt: skip

    def test_networks_of_ones_own_need_model(self, tmp_path):
        path, ensemble = tmp_path / "own.pth", Ensemble([Fixed([0.0]), Fixed([1.0])])
        save_checkpoint(path, ensemble)
        with pytest.raises(CheckpointError, match="does not say which network"):
            load_checkpoint(path)
        other = load_checkpoint(path, model=Ensemble([Fixed([5.0]), Fixed([6.0])])).model
        assert torch.equal(other(X), ensemble(X))

    def test_what_does_not_go_together_is_refused(self, files, networks, tmp_path):
        other = tmp_path / "other.pth"
        save_checkpoint(other, networks[0], description=CheckpointDescription(classes=("er", "mito")))
        with pytest.raises(CheckpointError, match=r"net_0\.pth and .*other\.pth do not go.*classes.*raw_range"):
            ensemble_checkpoints([files[0], other])
        with pytest.raises(CheckpointError, match="no checkpoints"):
            ensemble_checkpoints([])
        with pytest.raises(CheckpointError, match="one of the checkpoints to join"):
            ensemble_checkpoints(files, files[0])

    @pytest.mark.parametrize("members", [None, 3, [{"name": "2d_unet_s"}], [5]])
    def test_damaged_descriptions_are_named(self, files, tmp_path, members):
        path = tmp_path / "ensemble.pth"
        ensemble_checkpoints(files, path)
        contents = torch.load(path, weights_only=True)
        contents["description"]["model_arguments"]["members"] = members
        del contents["digests"]
        torch.save(contents, path)
        assert "needs members" in identify(path).problem
        with pytest.raises(ModelArgumentError, match="needs members"):
            load_checkpoint(path)
