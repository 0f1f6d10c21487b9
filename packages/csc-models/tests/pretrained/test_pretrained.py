"""Published weights by name: facts, the file in the cache, the network."""

import pickle
import threading

import pytest
import torch

from csc_models import (
    CheckpointMismatchError,
    CheckpointReadError,
    create_model,
    describe_model,
    list_pretrained,
    load_pretrained,
    model_card,
)
from csc_models.checkpoint import identify, load_checkpoint, save_checkpoint
from csc_models.errors import DownloadError, UnknownWeightsError
from csc_models.pretrained import fetch_pretrained, pretrained_card, pretrained_description, pretrained_path

FEW = {"features": (2, 3, 4, 5)}


@pytest.fixture
def few_features(monkeypatch):
    """Networks of few features instead of those whose files have a gigabyte."""

    def create(name, **arguments):
        return create_model(name, **{**FEW, **arguments})

    monkeypatch.setattr("csc_models.pretrained.loading.create_model", create)


@pytest.fixture
def published(server, tmp_path):
    """A file as it is published, on the server, and the network it was made of."""
    model = create_model("cosem_setup28", **FEW).eval()
    state = {}
    for key, value in model.state_dict().items():
        proper = key.replace("backbone.", "architecture.unet.", 1)
        state[proper] = value
        state[proper.replace("architecture.", "chain.0.", 1).replace("prediction_head.", "chain.1.", 1)] = value
    optimizer = torch.optim.Adam(model.parameters())
    path = tmp_path / "published"
    torch.save({"model": state, "optimizer": optimizer.state_dict(), "iteration": 775000}, path)
    server.files["/setup28/775000"] = path.read_bytes()
    return model


class TestFacts:
    def test_names_and_iterations(self):
        assert list_pretrained() == [
            "cosem_setup04/1820500", "cosem_setup04/975000", "cosem_setup04/625000",
            "cosem_setup26.1/2580000", "cosem_setup26.1/650000",
            "cosem_setup28/1440000", "cosem_setup28/775000",
            "cosem_setup36/1100000", "cosem_setup36/500000",
            "cosem_setup45/1634500", "cosem_setup45/625000",
        ]  # fmt: skip
        assert list_pretrained("cosem_setup36/*") == list_pretrained("setup36")

    @pytest.mark.parametrize("name", list_pretrained())
    def test_cards_agree_with_the_networks(self, name):
        card = pretrained_card(name)
        network = model_card(card.model)
        assert len(card.classes) == network.arguments["n_classes"]
        assert card.output_shape == network.output_shape(card.input_shape)
        finer = network.output.scale_factor
        assert card.input_voxel_size == tuple(size * finer for size in card.output_voxel_size)
        setup, iteration = name.removeprefix("cosem_").split("/")
        assert card.url == (
            "https://janelia-cosem-networks.s3.amazonaws.com/v0003.2-pytorch/cosem_models/cosem_models/"
            f"{setup}/{iteration}"
        )

    def test_card_in_words(self):
        text = str(pretrained_card("cosem_setup04/975000"))
        for fact in (
            "ecs, pm, mito, mito_mem, ves, ves_mem, endo, endo_mem, er, er_mem, eres, nuc, mt, mt_out",
            "216x216x216 voxels of 8x8x8 nm",
            "[-1.0, 1.0]",
            "68x68x68 voxels of 4x4x4 nm",
            "distances",
        ):
            assert fact in text

    def test_names_as_people_write_them(self):
        assert pretrained_card("setup26_1/650000") == pretrained_card("cosem_setup26.1/650000")

    @pytest.mark.parametrize("wrong", ["cosem_setup04/1820501", "cosem_setup04", "nonsense"])
    def test_unknown_names_are_errors_with_those_that_exist(self, wrong):
        with pytest.raises(UnknownWeightsError, match="cosem_setup04/1820500") as caught:
            pretrained_card(wrong)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)

    def test_cache_is_the_users(self, tmp_path):
        import platformdirs

        assert pretrained_path("cosem_setup45/625000").is_relative_to(
            platformdirs.user_cache_path("csc", appauthor=False)
        )
        assert pretrained_path("setup45/625000", folder=tmp_path) == tmp_path / "cosem_setup45" / "625000.pth"


class TestFetch:
    def test_is_downloaded_once(self, server, published, tmp_path):
        arguments = {"folder": tmp_path / "cache", "mirror": server.address + "/"}
        path = fetch_pretrained("cosem_setup28/775000", **arguments)
        assert path == pretrained_path("cosem_setup28/775000", folder=tmp_path / "cache")
        assert path.read_bytes() == server.files["/setup28/775000"]
        assert fetch_pretrained("cosem_setup28/775000", **arguments) == path
        assert len(server.requests) == 1

    def test_two_runs_at_once_download_once(self, server, published, tmp_path):
        threads = [
            threading.Thread(
                target=fetch_pretrained, args=("setup28/775000",),
                kwargs={"folder": tmp_path / "cache", "mirror": server.address},
            )
            for _ in range(4)
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.requests) == 1
        assert (tmp_path / "cache/cosem_setup28/775000.pth").read_bytes() == server.files["/setup28/775000"]

    def test_put_there_by_hand(self, server, published, tmp_path):
        """What the error says to do works."""
        with pytest.raises(DownloadError) as caught:
            fetch_pretrained("setup28/1440000", folder=tmp_path, mirror=server.address)
        path = pretrained_path("setup28/1440000", folder=tmp_path)
        assert str(caught.value).endswith(f"put it at {path}")
        path.write_bytes(server.files["/setup28/775000"])
        assert fetch_pretrained("setup28/1440000", folder=tmp_path, mirror="https://no-such-host.invalid") == path


@pytest.mark.usefixtures("few_features")
class TestLoad:
    def test_network_has_the_published_weights(self, server, published, tmp_path):
        server.troubles = [{"cut": 20_000}]
        model = load_pretrained("cosem_setup28/775000", folder=tmp_path, mirror=server.address)
        assert not model.training
        x = torch.rand(1, 1, 198, 198, 198)
        with torch.no_grad():
            assert torch.equal(model(x), published(x))
        assert describe_model(model).name == "cosem_setup28"

    def test_for_other_classes(self, server, published, tmp_path):
        model = load_pretrained("setup28/775000", n_classes=48, folder=tmp_path, mirror=server.address)
        assert model.prediction_head.out_channels == 48
        first = "backbone.0.l_conv.0.conv_pass.0.weight"
        assert torch.equal(model.state_dict()[first], published.state_dict()[first])

    def test_relu_after_upsampling_is_a_choice(self, server, published, tmp_path):
        place = {"folder": tmp_path, "mirror": server.address}
        with_relu = load_pretrained("setup28/775000", **place)
        without = load_pretrained("setup28/775000", upsampling_relu=False, **place)
        x = torch.rand(1, 1, 198, 198, 198)
        with torch.no_grad():
            assert not torch.equal(with_relu(x), without(x))

    def test_damaged_file_is_named(self, server, published, tmp_path):
        path = fetch_pretrained("setup28/775000", folder=tmp_path, mirror=server.address)
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(CheckpointReadError, match=r"cosem_setup28.775000\.pth"):
            load_pretrained("setup28/775000", folder=tmp_path)

    def test_file_is_told_from_others_and_loads_into_its_network(self, server, published, tmp_path):
        path = fetch_pretrained("setup28/775000", folder=tmp_path, mirror=server.address)
        said = str(identify(path))
        assert "COSEM project's networks, with 2 classes (cosem_setup28 or cosem_setup36 or cosem_setup45)" in said
        loaded = load_checkpoint(path, model=create_model("cosem_setup28", **FEW).eval(), raw_range=(-1, 1)).model
        x = torch.rand(1, 1, 198, 198, 198)
        with torch.no_grad():
            assert torch.equal(loaded(x), published(x))

    def test_file_of_another_network_is_named(self, server, published, tmp_path):
        server.files["/setup04/625000"] = server.files["/setup28/775000"]
        with pytest.raises(CheckpointMismatchError, match=r"625000\.pth.*prediction_head"):
            load_pretrained("setup04/625000", folder=tmp_path, mirror=server.address)

    def test_saved_as_a_checkpoint_that_describes_itself(self, server, published, tmp_path):
        name = "cosem_setup28/775000"
        model = load_pretrained(name, folder=tmp_path, mirror=server.address)
        save_checkpoint(tmp_path / "own.pth", model, description=pretrained_description(name))
        loaded = load_checkpoint(tmp_path / "own.pth")
        assert loaded.description.classes == ("er", "er_mem")
        assert loaded.description.raw_range == (-1.0, 1.0)
        assert loaded.description.input_arrays == {"raw": {"shape": [216] * 3, "scale": [8.0] * 3}}
        assert loaded.description.target_arrays == {"labels": {"shape": [68] * 3, "scale": [4.0] * 3}}
        assert loaded.description.model_arguments["upsampling_relu"] is True
        assert loaded.description.values == "distance"
