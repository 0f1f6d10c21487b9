"""Networks whose output is smaller and finer than their input, and published weights: trained, and used to predict."""

import dataclasses
import logging

import numpy as np
import pytest
import torch
from torch import nn

from csc_data.challenge.current_lists import load_test_crops
from csc_data.errors import InvalidArgumentError, ProblemsError
from csc_data.loader import ArrayInfo, RawSource
from csc_data.loader.poses.placement import centred_grid
from csc_data.volumes import open_volume
from csc_data.volumes.stored_values import StoredValues
from csc_models import InputShapeError, create_model, model_card
from csc_models.checkpoint import load_checkpoint, save_checkpoint
from csc_models.errors import DownloadError
from csc_models.pretrained import fetch_pretrained, pretrained_card, pretrained_description
from csc_train import TrainSettings, predict, train
from csc_train.network import target_array_info

SMALL = {"features": (2, 3), "factors": (2,)}
CARD = model_card("cosem_setup04", **SMALL)
EDGE = CARD.sizes.minimum + 4 * CARD.sizes.step
NAME = "cosem_setup28/775000"


def info(edge, scale=8.0):
    return ArrayInfo(shape=(edge,) * 3, scale=(scale,) * 3)


@pytest.fixture
def settings(data_folder, tmp_path):
    return TrainSettings(
        classes=("mito", "ld"),
        datasplit_path=data_folder.config.path("datasplit"),
        input_array_info=info(EDGE),
        raw_range=(-1.0, 1.0),
        model_name="mine",
        architecture="cosem_setup04",
        model_kwargs=SMALL,
        epochs=1,
        iterations_per_epoch=2,
        batch_size=2,
        validation_batch_limit=1,
        model_save_path=str(tmp_path / "checkpoints" / "{model_name}_{epoch}.pth"),
        logs_save_path=str(tmp_path / "tensorboard" / "{model_name}"),
        device="cpu",
    )


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Put small weights where the published ones are kept, and make networks of their size."""
    import csc_models.pretrained.fetching as fetching
    import csc_models.pretrained.loading as loading

    torch.manual_seed(1)
    network = create_model("cosem_setup28", **SMALL).eval()
    with torch.no_grad():  # outputs that vary within -1 and 1, and beyond
        for weights in network.parameters():
            weights.copy_(torch.randn_like(weights) * (2 / max(1, weights[0].numel())) ** 0.5)
    folder = tmp_path / "cache"
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: folder)
    path = fetching.pretrained_path(NAME)
    path.parent.mkdir(parents=True)
    torch.save({"model": network.state_dict()}, path)
    monkeypatch.setattr(loading, "create_model", lambda name, **arguments: create_model(name, **{**SMALL, **arguments}))
    return network


class TestShapes:
    def test_target_follows_from_the_network(self, settings):
        target = target_array_info(settings)
        assert target.scale == (4.0, 4.0, 4.0)
        assert target.shape == CARD.output_shape((EDGE,) * 3)
        assert target.extent[0] < settings.input_array_info.extent[0]

    def test_a_module_of_the_catalogue_is_asked_as_well(self, settings):
        named = target_array_info(settings)
        given = dataclasses.replace(settings, model=create_model("cosem_setup04", n_classes=2, **SMALL))
        assert target_array_info(given) == named
        own = dataclasses.replace(settings, model=nn.Conv3d(1, 2, 1))
        assert target_array_info(own) == settings.input_array_info

    def test_settings_go_before_it(self, settings):
        smaller = dataclasses.replace(settings, target_array_info=info(4, 4.0))
        assert target_array_info(smaller) == info(4, 4.0)

    def test_patches_that_the_network_does_not_take_are_named(self, settings):
        with pytest.raises(InputShapeError, match="next larger is"):
            train(dataclasses.replace(settings, input_array_info=info(EDGE + 1)))


class TestPrediction:
    def test_tiles_give_what_the_whole_gives(self, settings, data_folder):
        """The network sees each voxel alike, wherever the patch begins, so that tiles leave no seams."""
        torch.manual_seed(3)
        network = create_model("cosem_setup04", n_classes=2, **SMALL).eval()
        for weights in network.parameters():
            if weights.ndim > 1:
                nn.init.kaiming_normal_(weights)
        experiment = dataclasses.replace(settings, model=network, architecture=None, model_kwargs={})
        place = data_folder.config
        predict(
            experiment, config=place, crops=["901"], checkpoint="untrained", output="logit", output_dtype="float32",
            existing="overwrite", device="cpu",
        )  # fmt: skip
        crop = next(crop for crop in load_test_crops(place).values() if crop.id == 901)
        volume = open_volume(place.path("predictions", dataset=crop.dataset, crop="crop901", class_name="ld"))
        grid = volume.levels[0].grid
        assert grid.voxel_size == (4.0, 4.0, 4.0)
        assert grid.shape == tuple(2 * n for n in crop.grid.shape)
        # The whole crop in one patch, with the context that the network loses.
        edge = CARD.sizes.fit(-(-(max(grid.shape) + CARD.output.lost) // 2))
        given = centred_grid(grid.window((0, 0, 0), CARD.output_shape((edge,) * 3)), (edge,) * 3, (8.0,) * 3)
        volume_of_raw = open_volume(place.path("raw", dataset=crop.dataset))
        raw = RawSource(volume_of_raw, crop.grid.bounds).read(given, (-1.0, 1.0))
        with torch.no_grad():
            whole = network(torch.from_numpy(raw)[None, None])[0, 1].numpy()
        z, y, x = grid.shape
        assert whole.std() > 0.01
        np.testing.assert_allclose(volume.levels[0].array[...], whole[:z, :y, :x], atol=1e-4)

    def test_larger_patches_give_the_same(self, settings, data_folder):
        train(settings)
        place = data_folder.config
        stored = {}
        for patch in (None, (EDGE + 2, EDGE + 4, EDGE)):
            predict(
                settings, config=place, crops=["902"], patch_shape=patch, output="logit", output_dtype="float32",
                existing="overwrite", device="cpu",
            )  # fmt: skip
            folder = place.path("predictions", dataset="jrc_test-1", crop="crop902", class_name="mito")
            stored[patch] = open_volume(folder).levels[0].array[...]
        np.testing.assert_allclose(*stored.values(), atol=1e-5)

    def test_patches_that_the_network_does_not_take(self, settings, data_folder):
        train(settings)
        with pytest.raises((InputShapeError, InvalidArgumentError), match=r"pad to|too small"):
            predict(
                settings, config=data_folder.config, crops=["902"], patch_shape=(EDGE + 1,) * 3,
                existing="overwrite", device="cpu",
            )  # fmt: skip


class TestTraining:
    def test_checkpoint_knows_the_arrays(self, settings, data_folder):
        result = train(settings)
        description = load_checkpoint(result.latest_checkpoint).description
        assert description.target_arrays["labels"]["scale"] == [4.0, 4.0, 4.0]
        predicted = predict(
            result.latest_checkpoint, config=data_folder.config, crops=["902"], existing="overwrite", device="cpu"
        )
        assert predicted.crops[0].shape == (42, 48, 56)

    def test_begins_with_published_weights_and_a_new_head(self, settings, published, caplog):
        experiment = dataclasses.replace(settings, architecture=None, pretrained=NAME, learning_rate=1e-12)
        with caplog.at_level(logging.INFO):
            result = train(experiment)
        assert "with a new head" in caplog.text
        loaded = load_checkpoint(result.latest_checkpoint)
        assert loaded.description.model_name == "cosem_setup28"
        assert loaded.description.values == "logit"
        for key, weights in published.state_dict().items():
            changed = not torch.allclose(loaded.model.state_dict()[key], weights, atol=1e-6)
            assert changed == key.startswith("prediction_head."), key

    def test_same_classes_keep_the_head(self, settings, published, caplog, monkeypatch):
        card = dataclasses.replace(pretrained_card(NAME), classes=settings.classes)
        monkeypatch.setattr("csc_train.training.resume.pretrained_card", lambda name: card)
        experiment = dataclasses.replace(settings, architecture=None, pretrained=NAME, learning_rate=1e-12)
        with caplog.at_level(logging.INFO):
            result = train(experiment)
        assert "with a new head" not in caplog.text
        loaded = load_checkpoint(result.latest_checkpoint)
        for key, weights in published.state_dict().items():
            torch.testing.assert_close(loaded.model.state_dict()[key], weights, atol=1e-6, rtol=0)

    def test_own_checkpoints_go_before_published_weights(self, settings, published):
        experiment = dataclasses.replace(settings, architecture=None, pretrained=NAME)
        first = train(experiment)
        again = train(dataclasses.replace(experiment, epochs=2))
        assert again.resumed_from == first.latest_checkpoint.with_name("mine_resume.pth")

    def test_what_does_not_go_together_is_reported_at_once(self, settings):
        with pytest.raises(ProblemsError) as caught:
            train(dataclasses.replace(settings, pretrained=NAME, raw_range=(0.0, 1.0)))
        assert "cosem_setup28/775000 is for cosem_setup28" in str(caught.value)
        assert "raw_range = [-1.0, 1.0]" in str(caught.value)
        with pytest.raises(ProblemsError, match="did you mean 'cosem_setup28/775000'"):
            train(dataclasses.replace(settings, pretrained="cosem_setup28/77500"))
        with pytest.raises(ProblemsError, match="model of your own"):
            train(dataclasses.replace(settings, pretrained=NAME, architecture=None, model=nn.Conv3d(1, 2, 1)))


class TestDistances:
    """Published networks give signed distances from -1 to 1."""

    @pytest.fixture
    def distances(self, published, tmp_path, settings):
        """A checkpoint of a network that gives distances."""
        description = dataclasses.replace(
            pretrained_description(NAME),
            input_arrays={"raw": settings.input_array_info.to_plain()},
            target_arrays={"labels": target_array_info(settings).to_plain()},
        )
        save_checkpoint(tmp_path / "distances.pth", published, description=description)
        return tmp_path / "distances.pth"

    def stored(self, data_folder, source, **more):
        place = data_folder.config
        more = {"crops": ["902"], "all_classes": True, "existing": "overwrite", "device": "cpu", **more}
        predict(source, config=place, **more)
        return open_volume(place.path("predictions", dataset="jrc_test-1", crop="crop902", class_name="er_mem"))

    def test_are_stored_as_such_or_as_probabilities(self, data_folder, distances):
        volume = self.stored(data_folder, distances, output="distance", output_dtype="float32")
        values = volume.levels[0].array[...]
        assert StoredValues.from_attributes(volume.attributes) == StoredValues(kind="distance", one=1)
        assert values.min() < -0.05 or values.max() > 0.05
        volume = self.stored(data_folder, distances)
        meaning = StoredValues.from_attributes(volume.attributes)
        assert meaning == StoredValues(kind="probability", one=255)
        probabilities = volume.levels[0].array[...]
        np.testing.assert_allclose(probabilities, 255 * np.clip((values + 1) / 2, 0, 1), atol=0.51)
        clear = np.abs(values) > 0.01
        np.testing.assert_array_equal((probabilities > meaning.stored_threshold(0.5))[clear], (values > 0)[clear])

    def test_are_no_logits(self, data_folder, distances, settings):
        with pytest.raises(InvalidArgumentError, match="gives distances"):
            self.stored(data_folder, distances, output="logit")
        with pytest.raises(InvalidArgumentError, match="gives logits"):
            self.stored(data_folder, settings, output="distance", checkpoint="untrained")

    def test_published_weights_predict_by_name(self, data_folder, published, distances, monkeypatch):
        """With the sizes of the small network in place of the published ones."""
        small = load_checkpoint(distances).description
        monkeypatch.setattr("csc_train.prediction.predictor.pretrained_description", lambda name: small)
        by_name = self.stored(data_folder, NAME, output="distance").levels[0].array[...]
        by_file = self.stored(data_folder, distances, output="distance").levels[0].array[...]
        np.testing.assert_array_equal(by_name, by_file)

    def test_without_a_connection_the_error_says_what_to_do(self, data_folder, monkeypatch, tmp_path):
        monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path)
        real = fetch_pretrained
        monkeypatch.setattr(
            "csc_train.prediction.predictor.fetch_pretrained",
            lambda name: real(name, mirror="https://no-such-host.invalid"),
        )
        with pytest.raises(DownloadError, match=r"no-such-host.*put it at .*1440000\.pth"):
            self.stored(data_folder, "cosem_setup28/1440000")
