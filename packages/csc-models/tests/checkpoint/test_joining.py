from dataclasses import replace

import pytest
import torch
from torch import nn

from csc_models import CheckpointError, CheckpointMismatchError, ModelArgumentError, create_model
from csc_models.checkpoint import (
    CheckpointDescription,
    average_checkpoints,
    ensemble_checkpoints,
    load_checkpoint,
    save_checkpoint,
)

DESCRIPTION = CheckpointDescription(classes=("mito", "er"), raw_range=(0.0, 1.0))


@pytest.fixture
def build():
    def make(seed, **more):
        torch.manual_seed(seed)
        return create_model("3d_unet_s", **{"n_channels": 1, "n_classes": 2, "width": 4, "norm": "batch", **more})

    return make


@pytest.fixture
def files(tmp_path, build):
    """Three epochs; batch norm has counted differently many batches."""
    paths = []
    for epoch in range(3):
        model = build(epoch)
        for _ in range(epoch + 1):
            model(torch.rand(2, 1, 8, 8, 8))
        paths.append(tmp_path / f"net_{epoch}.pth")
        save_checkpoint(paths[-1], model, description=DESCRIPTION, extra={"epoch": epoch})
    return paths


def states(files):
    return [load_checkpoint(path).model.state_dict() for path in files]


@pytest.mark.parametrize("weights", [None, [1, 2, 5]])
def test_mean_of_the_weights(files, tmp_path, weights):
    out = tmp_path / "mean.pth"
    average_checkpoints(files, out, weights=weights)
    loaded = load_checkpoint(out)
    shares = torch.tensor(weights or [1, 1, 1], dtype=torch.float64)
    shares /= shares.sum()
    for key, values in loaded.model.state_dict().items():
        each = [state[key] for state in states(files)]
        if values.is_floating_point():
            expected = sum(share * one.double() for share, one in zip(shares, each, strict=True))
            torch.testing.assert_close(values, expected.float(), rtol=1e-6, atol=1e-7)
        else:
            assert torch.equal(values, each[-1]), key
        assert values.dtype == each[0].dtype
    assert loaded.description.classes == ("mito", "er")
    assert loaded.description.model_arguments["width"] == 4
    assert loaded.extra["averaged"]["files"] == ["net_0.pth", "net_1.pth", "net_2.pth"]
    assert loaded.extra["averaged"]["weights"] == pytest.approx(shares.tolist())


def test_mean_of_copies_is_the_copy_bit_for_bit(files):
    averaged = average_checkpoints([files[0]] * 4)
    original = states(files)[0]
    assert all(torch.equal(values, original[key]) for key, values in averaged.state.items())


def test_small_differences_between_large_values_survive(tmp_path):
    """Sums in float32 would round them away."""
    values = [1e8, 1.0, -1e8, 3.0]
    paths = [tmp_path / f"{index}.pth" for index in range(4)]
    for path, value in zip(paths, values, strict=True):
        torch.save({"weight": torch.tensor([value])}, path)
    assert average_checkpoints(paths).state["weight"].item() == 1.0


def test_statistics_of_batch_norm_are_noted(files, tmp_path, build):
    assert any("update_bn" in note for note in average_checkpoints(files).notes)
    path = tmp_path / "group.pth"
    save_checkpoint(path, build(0, norm="group"))
    assert average_checkpoints([path, path]).notes == ()


def test_half_precision_stays_and_is_summed_in_double(tmp_path):
    paths = [tmp_path / "a.pth", tmp_path / "b.pth"]
    for path, value in zip(paths, (1.0, 2.0), strict=True):
        torch.save({"weight": torch.full((3,), value, dtype=torch.bfloat16)}, path)
    averaged = average_checkpoints(paths).state["weight"]
    assert averaged.dtype == torch.bfloat16
    assert averaged.tolist() == [1.5] * 3


class TestRefused:
    def test_other_networks_are_named(self, files, tmp_path, build):
        other = tmp_path / "other.pth"
        save_checkpoint(other, build(0, width=8), description=DESCRIPTION)
        with pytest.raises(CheckpointError, match=r"net_0.pth and .*other.pth do not go together: .*'width': 8"):
            average_checkpoints([files[0], other])

    def test_other_classes_and_ranges_are_named(self, files, tmp_path, build):
        other = tmp_path / "other.pth"
        description = CheckpointDescription(classes=("er", "mito"), raw_range=(0.0, 255.0))
        save_checkpoint(other, build(0), description=description)
        with pytest.raises(CheckpointError, match=r"classes \(\['mito', 'er'\] and \['er', 'mito'\]\), raw_range"):
            average_checkpoints([files[0], other])

    def test_another_meaning_of_the_output_is_named(self, files, tmp_path, build):
        other = tmp_path / "other.pth"
        save_checkpoint(other, build(0), description=replace(DESCRIPTION, values="distance"))
        with pytest.raises(CheckpointError, match=r"they differ in values \('logit' and 'distance'\)"):
            average_checkpoints([files[0], other])

    def test_no_logits_have_the_mean_of_exclusive_probabilities(self, tmp_path, build):
        paths = [tmp_path / f"{seed}.pth" for seed in range(2)]
        for seed, path in enumerate(paths):
            save_checkpoint(path, build(seed), description=replace(DESCRIPTION, values="exclusive"))
        with pytest.raises(CheckpointError, match="exclude each other"):
            ensemble_checkpoints(paths)
        assert ensemble_checkpoints(paths, mean_of="logits").description.values == "exclusive"

    def test_gradient_checkpointing_is_no_difference(self, files, tmp_path, build):
        other = tmp_path / "other.pth"
        save_checkpoint(other, build(0, gradient_checkpointing=True), description=DESCRIPTION)
        average_checkpoints([files[0], other])

    def test_bare_weights_of_other_shapes_are_named(self, tmp_path):
        paths = [tmp_path / "a.pth", tmp_path / "b.pth"]
        torch.save(nn.Linear(2, 3).state_dict(), paths[0])
        torch.save(nn.Linear(2, 4, bias=False).state_dict(), paths[1])
        with pytest.raises(CheckpointMismatchError, match=r"1 missing: bias; 1 of another shape: weight: \(4, 2\)"):
            average_checkpoints(paths)

    def test_values_that_are_not_finite_are_named(self, files, tmp_path, build):
        model, path = build(0), tmp_path / "broken.pth"
        nn.init.constant_(model.head.bias, float("nan"))
        save_checkpoint(path, model, description=DESCRIPTION)
        with pytest.raises(CheckpointError, match=r"broken.pth: head.bias has values that are not finite"):
            average_checkpoints([files[0], path])

    def test_nothing_wrong_weights_and_an_input_as_output(self, files):
        with pytest.raises(CheckpointError, match="no checkpoints"):
            average_checkpoints([])
        for weights in ([1, 2], [1, 2, 0], [1, 2, float("nan")]):
            with pytest.raises(ModelArgumentError, match="one positive number for each of 3"):
                average_checkpoints(files, weights=weights)
        before = files[0].read_bytes()
        with pytest.raises(CheckpointError, match="one of the checkpoints to join"):
            average_checkpoints(files, files[0].parent / "." / files[0].name)
        assert files[0].read_bytes() == before


def test_safetensors_in_and_out(files, tmp_path):
    pytest.importorskip("safetensors", reason="needs csc-models[safetensors]")
    out = tmp_path / "mean.safetensors"
    average_checkpoints(files, out)
    again = average_checkpoints([out, files[0]])
    assert again.extra["averaged"]["files"] == ["mean.safetensors", "net_0.pth"]
    assert load_checkpoint(out).extra["averaged"]["weights"] == pytest.approx([1 / 3] * 3)
