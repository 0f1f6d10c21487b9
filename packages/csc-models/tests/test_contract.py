"""What every model of the catalogue promises, checked at its smallest sizes: the contract that others test, too."""

import copy
import shutil
import sysconfig
from pathlib import Path

import pytest
import torch

from csc_models import create_model, list_models, model_spec
from csc_models.optional import is_installed
from csc_models.testing import ModelContract

TINY_VIT = {
    "hidden_size": 12,
    "mlp_dim": 16,
    "num_heads": 2,
    "num_layers": 2,
    "encoder_channels": (2, 2, 2),
    "conv_first_channel": 4,
    "decoder_channels": (4, 4, 2, 2, 2),
}
SMALLEST = {
    "2d_unet_s": {"width": 4},
    "3d_unet_s": {"width": 4},
    "2d_unet": {"width": 4},
    "3d_unet": {"width": 2},
    "2d_resnet": {"ngf": 4, "n_blocks": 1},
    "3d_resnet": {"ngf": 2, "n_blocks": 1},
    "2d_resenc_unet": {"features": (4, 8, 8), "blocks": (1, 2, 1)},
    "3d_resenc_unet": {"features": (2, 4, 4), "blocks": (1, 1, 2)},
    "2d_plain_unet": {"features": (4, 6, 8)},
    "3d_plain_unet": {"features": (2, 3)},
    "2d_segresnet": {"blocks": (1, 2, 1), "decoder_blocks": (2, 1)},
    "3d_segresnet": {"blocks": (1, 1), "decoder_blocks": (1,)},
    "2d_mednext": {"size": "s", "width": 4},
    "3d_mednext": {"size": "s", "width": 2},
    "2d_encoder_unet": {"encoder": "test_resnet", "width": 2},
    "3d_encoder_unet": {"encoder": "test_convnext", "width": 2},
    "vitnet": {"config": TINY_VIT, "img_size": (32, 32, 32)},
    "cosem_setup04": {"features": (2, 3, 4), "factors": (2, 3)},
    "cosem_setup26.1": {"features": (2, 3), "factors": (3,)},
    "cosem_setup28": {"features": (2, 3), "factors": (2,)},
    "cosem_setup36": {"features": (2, 3), "factors": (2,)},
    "cosem_setup45": {"features": (2, 3, 4), "factors": (3, 2)},
    "monai_basic_unet3d": {"features": (2, 2, 2, 4, 4, 2)},
    "monai_unet": {"channels": (2, 4, 4), "strides": (2, 2)},
    "monai_swin_unetr": {"feature_size": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 3},
}
FLAT = {"kernels": ((1, 3, 3), 3, 1), "strides": (1, (1, 2, 3), 2)}
# Variants that differ in what they compute, not only in numbers.
VARIANTS = {
    "3d_unet_s/batch": ("3d_unet_s", {"width": 4, "norm": "batch"}),
    "3d_unet_s/instance": ("3d_unet_s", {"width": 3, "depth": 2, "norm": "instance"}),
    "2d_mednext/kernel 5": ("2d_mednext", {"size": "s", "width": 2, "kernel_size": 5}),
    "3d_resenc_unet/flat": ("3d_resenc_unet", {"features": (2, 4, 4), "blocks": 1, "norm": "batch", **FLAT}),
    "3d_plain_unet/flat": (
        "3d_plain_unet",
        {"features": (2, 4, 4), "norm": "none", "nonlinearity": "prelu", "conv_bias": False, "dropout": 0.1, **FLAT},
    ),
    "2d_unet/trilinear": ("2d_unet", {"width": 4, "trilinear": True}),
    "2d_resnet/zeros": ("2d_resnet", {"ngf": 4, "n_blocks": 1, "padding_type": "zeros", "norm_layer": "batch"}),
    "cosem_setup28/port": ("cosem_setup28", {"features": (2, 3), "factors": (2,), "upsampling_relu": False}),
    "monai_unet/plain": ("monai_unet", {"channels": (2, 4), "strides": (2,), "num_res_units": 0, "norm": "batch"}),
    "2d_resnet/replicate": ("2d_resnet", {"ngf": 4, "n_blocks": 1, "padding_type": "replicate", "activation": "gelu"}),
}
CASES = {**{name: (name, arguments) for name, arguments in SMALLEST.items()}, **VARIANTS}


def test_every_model_has_a_contract():
    assert sorted(SMALLEST) == list_models()


def test_every_model_can_compute_parts_of_itself_twice():
    assert all("gradient_checkpointing" in model_spec(name).parameters() for name in list_models())


class TestContract(ModelContract):
    cases = CASES

    @pytest.fixture
    def case(self, request):
        extra = model_spec(request.param[0]).extra
        if extra is not None and not is_installed(extra):
            pytest.skip(f"needs the extra {extra}")
        return request.param

    # Prediction by csc-train compiles one of them, and test_formats.py exports some.
    test_compile = pytest.mark.thorough(ModelContract.test_compile)
    test_export_for_any_batch = pytest.mark.thorough(ModelContract.test_export_for_any_batch)


@pytest.mark.thorough
@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="there is no C++ compiler")
@pytest.mark.skipif(not Path(sysconfig.get_path("include"), "Python.h").exists(), reason="there are no headers")
def test_compile_with_inductor(tmp_path, monkeypatch):
    """One network, since each takes long."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    torch.compiler.reset()
    model = create_model("2d_unet_s", n_channels=1, n_classes=2, width=2, depth=2)
    reference = copy.deepcopy(model)
    x = torch.rand(1, 1, 12, 17)
    output, expected = torch.compile(model)(x), reference(x)
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-4)
    output.square().mean().backward()
    expected.square().mean().backward()
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-3)
