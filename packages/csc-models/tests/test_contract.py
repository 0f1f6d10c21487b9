"""What every model of the catalogue promises, checked at its smallest sizes."""

import copy
import itertools
import re
import shutil
import sysconfig
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from csc_models import InputShapeError, create_model, describe_model, list_models, model_card, model_spec
from csc_models.checkpoint import load_checkpoint, save_checkpoint
from csc_models.optional import is_installed

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
# Variants that differ in what they compute, not only in numbers.
VARIANTS = {
    "3d_unet_s/batch": ("3d_unet_s", {"width": 4, "norm": "batch"}),
    "3d_unet_s/instance": ("3d_unet_s", {"width": 3, "depth": 2, "norm": "instance"}),
    "2d_mednext/kernel 5": ("2d_mednext", {"size": "s", "width": 2, "kernel_size": 5}),
    "2d_unet/trilinear": ("2d_unet", {"width": 4, "trilinear": True}),
    "2d_resnet/zeros": ("2d_resnet", {"ngf": 4, "n_blocks": 1, "padding_type": "zeros", "norm_layer": "batch"}),
    "cosem_setup28/port": ("cosem_setup28", {"features": (2, 3), "factors": (2,), "upsampling_relu": False}),
    "monai_unet/plain": ("monai_unet", {"channels": (2, 4), "strides": (2,), "num_res_units": 0, "norm": "batch"}),
    "2d_resnet/replicate": ("2d_resnet", {"ngf": 4, "n_blocks": 1, "padding_type": "replicate", "activation": "gelu"}),
}
CASES = {**{name: (name, arguments) for name, arguments in SMALLEST.items()}, **VARIANTS}


def test_every_model_has_a_contract():
    assert sorted(SMALLEST) == list_models()


@pytest.fixture(params=CASES)
def case(request):
    extra = model_spec(CASES[request.param][0]).extra
    if extra is not None and not is_installed(extra):
        pytest.skip(f"needs the extra {extra}")
    return CASES[request.param]


@pytest.fixture
def build(case):
    def make(n_channels=1, n_classes=2, seed=0, **more):
        name, arguments = case
        torch.manual_seed(seed)
        model = create_model(name, n_channels=n_channels, n_classes=n_classes, **{**arguments, **more})
        # Heads that start at zero, and dropout, would hide differences.
        for part in model.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
        head = list(model.parameters())[-2]
        if head.abs().max() < 1e-3:
            nn.init.normal_(head, std=0.1)
        return model

    return make


@pytest.fixture
def card(case):
    name, arguments = case
    return model_card(name, n_channels=1, n_classes=2, **arguments)


@pytest.fixture
def make_input(card):
    """Inputs of the smallest size that needs no padding and has two voxels at the coarsest level."""
    edge = card.sizes.efficient_multiple * (2 if card.sizes.minimum <= 2 * card.sizes.efficient_multiple else 4)
    if card.sizes.step > 1:
        edge = card.sizes.minimum + card.sizes.step
    sizes = [edge if axis == card.ndim - 1 else card.sizes.fit(edge // 2) for axis in range(card.ndim)]

    def make(n_channels=1, batch=2, more=(0, 0, 0)):
        torch.manual_seed(7)
        return torch.rand(batch, n_channels, *(size + extra for size, extra in zip(sizes, more, strict=False)))

    return make


class TestForward:
    def test_forward_and_backward_reach_all_weights(self, build, make_input, card):
        model, x = build(), make_input().requires_grad_()
        output = model(x)
        assert output.shape == (2, 2, *card.output_shape(x.shape[2:]))
        (output * torch.rand_like(output)).sum().backward()
        for weights in (x, *model.parameters()):
            assert weights.grad is not None
            assert weights.grad.isfinite().all()
        assert x.grad.abs().max() > 0

    def test_output_has_the_size_of_the_card_whatever_the_input(self, build, make_input, card):
        model = build().eval()
        step = card.sizes.step
        for more in itertools.product((0, step, 3 * step), (0, 5 * step), (0, 2 * step)):
            x = make_input(batch=1, more=more)
            sizes = model(x).shape[2:]
            assert sizes == card.output_shape(x.shape[2:])
            assert step > 1 or sizes == x.shape[2:]

    def test_other_sizes_are_refused_with_one_that_works(self, build, card):
        if card.sizes.step == 1:
            pytest.skip("takes any size")
        wrong = (card.sizes.minimum + 1,) * card.ndim
        right = (card.sizes.minimum + card.sizes.step,) * card.ndim
        with pytest.raises(InputShapeError, match=re.escape(f"pad to {right}")):
            build()(torch.rand(1, 1, *wrong))
        with pytest.raises(InputShapeError, match=re.escape(f"the next larger is {right}")):
            card.output_shape(wrong)

    def test_smallest_size_of_the_card_works(self, build, card):
        model = build().eval()
        smallest = torch.rand(1, 1, *[card.sizes.minimum] * card.ndim)
        assert model(smallest).isfinite().all()

    def test_input_and_output_channels(self, build, make_input):
        x = make_input(n_channels=3)
        assert build(n_channels=3, n_classes=5)(x).shape[:2] == (2, 5)

    def test_wrong_shapes_are_named(self, build, make_input, card):
        model = build(n_channels=2)
        with pytest.raises(InputShapeError, match="built for 2 input channels, got 1"):
            model(make_input())
        with pytest.raises(InputShapeError, match="got an array of shape"):
            model(make_input()[0])
        if card.sizes.minimum > 1 and card.sizes.step == 1:
            shape = [card.sizes.minimum - 1] + [64] * (card.ndim - 1)
            with pytest.raises(InputShapeError, match=rf"pad to at least \({card.sizes.minimum}, 64"):
                model(torch.rand(1, 2, *shape))

    def test_memory_format_does_not_matter(self, build, make_input, card):
        model, x = build().eval(), make_input()
        last = torch.channels_last if card.ndim == 2 else torch.channels_last_3d
        expected = model(x)
        output = model.to(memory_format=last)(x.to(memory_format=last))
        torch.testing.assert_close(output, expected, atol=1e-4, rtol=1e-4)

    def test_autocast_stays_close(self, build, make_input):
        model, x = build().eval(), make_input()
        expected = model(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(x)
        assert output.dtype == torch.bfloat16
        assert (output.float() - expected).abs().mean() < 0.1 * expected.abs().max()


class TestReproducible:
    def test_same_seed_same_training_step(self, build, make_input):
        outputs = []
        for _ in range(2):
            model = build(seed=3)
            optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
            model(make_input()).square().mean().backward()
            optimiser.step()
            outputs.append(model(make_input()))
        assert torch.equal(*outputs)
        assert not torch.equal(build(seed=4)(make_input()), build(seed=3)(make_input()))

    def test_saved_and_rebuilt_gives_the_same(self, build, make_input, tmp_path):
        model = build()
        model(make_input())  # moves running statistics
        save_checkpoint(tmp_path / "net.pth", model)
        rebuilt = load_checkpoint(tmp_path / "net.pth").model
        assert torch.equal(rebuilt(make_input()), model.eval()(make_input()))

    def test_copies_know_what_they_are(self, build, case):
        name, _ = case
        description = describe_model(copy.deepcopy(build()))
        assert description.name == name
        again = create_model(name, **description.arguments)
        assert describe_model(again) == description
        arguments = {field: getattr(again, field) for field in description.arguments}
        by_class = type(again)(**model_spec(name).fixed, **arguments)
        assert describe_model(by_class) == description


class TestCompilers:
    @pytest.mark.thorough  # prediction by csc-train compiles one of them
    def test_compile(self, build, make_input):
        torch.compiler.reset()
        model, x = build(), make_input()
        reference = copy.deepcopy(model)
        with warnings.catch_warnings():
            # What torch says of its own work where a network of MONAI cannot be compiled in one piece.
            warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor that is not a leaf")
            output = torch.compile(model, backend="aot_eager")(x)
        expected = reference(x)
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-4)
        output.square().mean().backward()
        expected.square().mean().backward()
        for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-3)

    @pytest.mark.thorough
    @pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="there is no C++ compiler")
    @pytest.mark.skipif(not Path(sysconfig.get_path("include"), "Python.h").exists(), reason="there are no headers")
    def test_compile_with_inductor(self, tmp_path, monkeypatch):
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

    @pytest.mark.thorough  # test_formats.py exports some of them
    def test_export_for_any_batch(self, build, make_input):
        model = build().eval()
        program = torch.export.export(model, (make_input(),), dynamic_shapes=({0: torch.export.Dim("batch")},))
        x = make_input(batch=3)
        torch.testing.assert_close(program.module()(x), model(x), atol=1e-5, rtol=1e-4)

    def test_trace_for_torchscript(self, build, make_input):
        model = build().eval()
        with warnings.catch_warnings():
            # Checks of sizes become constants in a trace, and torch calls TorchScript outdated.
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            warnings.filterwarnings("ignore", message=".*torch.jit.trace.* is deprecated", category=FutureWarning)
            warnings.filterwarnings("ignore", message=".*torch.jit.trace.* is deprecated", category=DeprecationWarning)
            # MONAI's SwinUNETR counts windows by numpy, which reads sizes of a trace as tensors.
            warnings.filterwarnings("ignore", message="__array_wrap__ must accept", category=DeprecationWarning)
            traced = torch.jit.trace(model, make_input())
            output = traced(make_input(batch=1))
        torch.testing.assert_close(output, model(make_input(batch=1)), atol=1e-5, rtol=1e-4)


class TestGradientCheckpointing:
    def test_changes_memory_and_nothing_else(self, build, make_input):
        plain, saving = build(), build(gradient_checkpointing=True)
        kept = {}
        for name, model in (("plain", plain), ("saving", saving)):
            sizes = []

            def pack(tensor, sizes=sizes):
                sizes.append(tensor.numel())
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                output = model(make_input())
            output.square().mean().backward()
            kept[name] = sum(sizes)
        assert kept["saving"] < kept["plain"]
        for (key, ours), theirs in zip(saving.named_parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, msg=key)
        for (key, ours), theirs in zip(saving.named_buffers(), plain.buffers(), strict=True):
            torch.testing.assert_close(ours, theirs, msg=key)


class TestCard:
    def test_parameters_are_counted(self, build, card):
        assert card.parameters == sum(weights.numel() for weights in build().parameters())

    def test_receptive_field_is_what_a_gradient_reaches(self, build, card, case):
        if card.receptive_field is None:
            pytest.skip("sees everything")
        model = _made_linear(build()).double().eval()
        stride = card.sizes.efficient_multiple
        period = stride * card.output.scale_factor
        length = -(-(card.receptive_field + 3 * stride + card.output.lost) // stride) * stride
        length = card.sizes.fit(length)
        small = max(card.sizes.minimum, card.sizes.efficient_multiple if card.sizes.step == 1 else 1)
        x = torch.zeros(1, 1, *[small] * (card.ndim - 1), length, dtype=torch.float64, requires_grad=True)
        line = model(x).sum(dim=tuple(range(x.ndim - 1)))
        widths = []
        for position in range(len(line) // 2, len(line) // 2 + period):
            (gradient,) = torch.autograd.grad(line[position], x, retain_graph=True)
            reached = gradient.sum(dim=tuple(range(x.ndim - 1))).nonzero().flatten()
            widths.append(int(reached[-1] - reached[0]) + 1)
        assert max(widths) == card.receptive_field


def _made_linear(model):
    """Replace norms and activations by nothing, maxima by means, weights by positive ones: nothing hides or cancels."""
    hiding = (
        nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm,
        nn.ReLU, nn.GELU, nn.PReLU, nn.LeakyReLU,
    )  # fmt: skip
    for name, part in list(model.named_children()):
        if isinstance(part, hiding):
            setattr(model, name, nn.Identity())
        elif isinstance(part, (nn.MaxPool2d, nn.MaxPool3d)):
            mean = nn.AvgPool2d if isinstance(part, nn.MaxPool2d) else nn.AvgPool3d
            setattr(model, name, mean(part.kernel_size, ceil_mode=part.ceil_mode))
        else:
            _made_linear(part)
    for weights in model.parameters():
        nn.init.constant_(weights, 0.01)
    return model
