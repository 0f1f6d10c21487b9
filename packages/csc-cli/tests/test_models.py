import torch

from csc_models import create_model, list_models
from csc_models.checkpoint import save_checkpoint


def test_list_names_every_network(run):
    names = {line.split()[0] for line in run("models", "list").output.splitlines()[1:]}
    assert names == set(list_models())


def test_show_tells_what_a_network_takes(run):
    output = run("models", "show", "3d_unet_s").output
    assert "parameters" in output
    assert "n_channels" in output


def test_an_unknown_network_names_the_nearest(run):
    result = run("models", "show", "3d_unet_z")
    assert result.exit_code == 1
    assert "3d_unet" in result.stderr


def test_check_recognises_a_checkpoint_and_refuses_what_does_not_load(run, tmp_path):
    model = create_model("3d_unet_s", n_channels=1, n_classes=2)
    save_checkpoint(tmp_path / "ours.pth", model)
    assert "3d_unet_s" in run("models", "check", "ours.pth").output
    torch.save({"what": torch.zeros(3)}, tmp_path / "other.pth")
    result = run("models", "check", "other.pth")
    assert result.exit_code == 1
    assert "other.pth" in result.stderr
    (tmp_path / "cut.pth").write_bytes((tmp_path / "ours.pth").read_bytes()[:1000])
    assert run("models", "check", "cut.pth").exit_code == 1
    assert run("models", "check", "absent.pth").exit_code == 1
