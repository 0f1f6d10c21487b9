"""The contract as a class of tests, which a subclass runs with networks of its own."""

from __future__ import annotations

import copy
import itertools
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from csc_models.catalog import create_model, describe_model, model_card, model_spec
from csc_models.checkpoint import load_checkpoint, save_checkpoint
from csc_models.errors import InputShapeError, InputTypeError
from csc_models.specification import ModelCard
from csc_models.testing.linear import make_linear, reached_widths

Case = tuple[str, Mapping[str, Any]]
Build = Callable[..., nn.Module]
MakeInput = Callable[..., Tensor]


class ModelContract:
    """Tests of everything that training, prediction, checkpoints and exports take for granted.

    Attributes
    ----------
    cases : mapping
        What is tested: by a word for the report, the name of a network in the catalogue and its arguments. Small
        networks, since each is run some fifty times; one for each variant that computes something else.
    """

    cases: ClassVar[Mapping[str, Case]] = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test with each case."""
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", list(self.cases.values()), ids=list(self.cases), indirect=True)

    @pytest.fixture
    def case(self, request: pytest.FixtureRequest) -> Case:
        """Name and arguments."""
        found: Case = request.param
        return found

    @pytest.fixture
    def build(self, case: Case) -> Build:
        """A function that builds the network with weights that depend on a seed, without dropout."""

        def make(n_channels: int = 1, n_classes: int = 2, seed: int = 0, **more: Any) -> nn.Module:
            name, arguments = case
            torch.manual_seed(seed)
            model = create_model(name, n_channels=n_channels, n_classes=n_classes, **{**arguments, **more})
            # Dropout, and heads that start at zero, would hide differences.
            for part in model.modules():
                if isinstance(part, (nn.Dropout, nn.Dropout2d, nn.Dropout3d)):
                    part.p = 0.0
            for weights in list(model.parameters())[-2:]:
                if weights.ndim > 1 and weights.abs().max() < 1e-3:
                    nn.init.normal_(weights, std=0.1)
            return model

        return make

    @pytest.fixture
    def card(self, case: Case) -> ModelCard:
        """Its facts."""
        name, arguments = case
        return model_card(name, n_channels=1, n_classes=2, **arguments)

    @pytest.fixture
    def make_input(self, card: ModelCard) -> MakeInput:
        """Inputs of the smallest size that needs no padding and has two voxels at the coarsest level."""
        edge = card.sizes.efficient_multiple * (2 if card.sizes.minimum <= 2 * card.sizes.efficient_multiple else 4)
        if card.sizes.step > 1:
            edge = card.sizes.minimum + card.sizes.step
        sizes = [edge if axis == card.ndim - 1 else card.sizes.fit(edge // 2) for axis in range(card.ndim)]

        def make(n_channels: int = 1, batch: int = 2, more: tuple[int, ...] = (0, 0, 0)) -> Tensor:
            torch.manual_seed(7)
            return torch.rand(batch, n_channels, *(size + extra for size, extra in zip(sizes, more, strict=False)))

        return make

    def test_forward_and_backward_reach_all_weights(self, build: Build, make_input: MakeInput, card: ModelCard) -> None:
        """Training changes every weight."""
        model, x = build(), make_input().requires_grad_()
        output = model(x)
        assert output.shape == (2, 2, *card.output_shape(x.shape[2:]))
        (output * torch.rand_like(output)).sum().backward()
        for weights in (x, *model.parameters()):
            assert weights.grad is not None
            assert weights.grad.isfinite().all()
        assert x.grad is not None
        assert x.grad.abs().max() > 0

    def test_output_has_the_size_of_the_card_whatever_the_input(
        self, build: Build, make_input: MakeInput, card: ModelCard
    ) -> None:
        """Where any size is taken, the output has that of the input."""
        model, step = build().eval(), card.sizes.step
        for more in itertools.product((0, step, 3 * step), (0, 5 * step), (0, 2 * step)):
            x = make_input(batch=1, more=more)
            with torch.inference_mode():
                sizes = model(x).shape[2:]
            assert sizes == card.output_shape(x.shape[2:])
            assert step > 1 or sizes == x.shape[2:]

    def test_smallest_size_of_the_card_works(self, build: Build, card: ModelCard) -> None:
        """In evaluation mode."""
        assert build().eval()(torch.rand(1, 1, *[card.sizes.minimum] * card.ndim)).isfinite().all()

    def test_other_sizes_are_refused_with_one_that_works(self, build: Build, card: ModelCard) -> None:
        """By the network and by its card."""
        if card.sizes.step == 1:
            pytest.skip("takes any size")
        wrong = (card.sizes.minimum + 1,) * card.ndim
        right = (card.sizes.minimum + card.sizes.step,) * card.ndim
        with pytest.raises(InputShapeError, match=re.escape(f"pad to {right}")):
            build()(torch.rand(1, 1, *wrong))
        with pytest.raises(InputShapeError, match=re.escape(f"the next larger is {right}")):
            card.output_shape(wrong)

    def test_input_and_output_channels(self, build: Build, make_input: MakeInput) -> None:
        """There may be any number of them."""
        assert build(n_channels=3, n_classes=5)(make_input(n_channels=3)).shape[:2] == (2, 5)

    def test_wrong_shapes_are_named(self, build: Build, make_input: MakeInput, card: ModelCard) -> None:
        """`csc_models.nets.layers.check_input` says what is asked for here."""
        model = build(n_channels=2)
        with pytest.raises(InputShapeError, match="built for 2 input channels, got 1"):
            model(make_input())
        with pytest.raises(InputShapeError, match="got an array of shape"):
            model(make_input()[0])
        if card.sizes.minimum > 1 and card.sizes.step == 1:
            shape = [card.sizes.minimum - 1] + [64] * (card.ndim - 1)
            with pytest.raises(InputShapeError, match=rf"pad to at least \({card.sizes.minimum}, 64"):
                model(torch.rand(1, 2, *shape))

    def test_whole_numbers_are_refused_with_what_to_do(self, build: Build, make_input: MakeInput) -> None:
        """`csc_models.nets.layers.check_input` refuses them, too."""
        model, x = build(), make_input()
        for dtype in (torch.uint8, torch.int64, torch.bool):
            with pytest.raises(InputTypeError, match=f"floating-point numbers, got {dtype}; scale raw data"):
                model(x.to(dtype))

    def test_memory_format_does_not_matter(self, build: Build, make_input: MakeInput, card: ModelCard) -> None:
        """Channels-last is what GPUs convolve fastest."""
        model, x = build().eval(), make_input()
        last = torch.channels_last if card.ndim == 2 else torch.channels_last_3d
        expected = model(x)
        fast: Any = model.to(memory_format=last)
        torch.testing.assert_close(fast(x.to(memory_format=last)), expected, atol=1e-4, rtol=1e-4)

    def test_autocast_stays_close(self, build: Build, make_input: MakeInput) -> None:
        """Mixed precision changes the output a little."""
        model, x = build().eval(), make_input()
        expected = model(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(x)
        assert output.dtype == torch.bfloat16
        assert (output.float() - expected).abs().mean() < 0.1 * expected.abs().max()

    def test_same_seed_same_training_step(self, build: Build, make_input: MakeInput) -> None:
        """And another one with another seed."""
        outputs = []
        for _ in range(2):
            model = build(seed=3)
            optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
            model(make_input()).square().mean().backward()
            optimiser.step()
            outputs.append(model(make_input()))
        assert torch.equal(*outputs)
        assert not torch.equal(build(seed=4)(make_input()), build(seed=3)(make_input()))

    def test_saved_and_rebuilt_gives_the_same(self, build: Build, make_input: MakeInput, tmp_path: Path) -> None:
        """From the file alone."""
        model = build()
        model(make_input())  # moves running statistics
        save_checkpoint(tmp_path / "net.pth", model)
        rebuilt = load_checkpoint(tmp_path / "net.pth").model
        assert torch.equal(rebuilt(make_input()), model.eval()(make_input()))

    def test_copies_know_what_they_are(self, build: Build, case: Case) -> None:
        """Copies, and networks that somebody made by calling the class."""
        spec = model_spec(case[0])
        description = describe_model(copy.deepcopy(build()))
        assert description is not None
        assert description.name == spec.name
        again = create_model(spec.name, **description.arguments)
        assert describe_model(again) == description
        if isinstance(spec.builder, type):
            arguments = {field: getattr(again, field) for field in description.arguments}
            assert describe_model(spec.builder(**spec.fixed, **arguments)) == description

    def test_compile(self, build: Build, make_input: MakeInput) -> None:
        """Outputs and gradients of ``torch.compile``, without a compiler of C++."""
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

    def test_export_for_any_batch(self, build: Build, make_input: MakeInput) -> None:
        """As ``torch.export`` and ONNX need it."""
        model = build().eval()
        program = torch.export.export(model, (make_input(),), dynamic_shapes=({0: torch.export.Dim("batch")},))
        x = make_input(batch=3)
        torch.testing.assert_close(program.module()(x), model(x), atol=1e-5, rtol=1e-4)

    def test_trace_for_torchscript(self, build: Build, make_input: MakeInput) -> None:
        """As TorchScript and BioImage.IO packages need it."""
        model = build().eval()
        jit: Any = torch.jit  # its names have no types
        with warnings.catch_warnings():
            # Checks of sizes become constants in a trace, and torch calls TorchScript outdated.
            warnings.simplefilter("ignore", jit.TracerWarning)
            warnings.filterwarnings("ignore", message=".*torch.jit.trace.* is deprecated", category=FutureWarning)
            warnings.filterwarnings("ignore", message=".*torch.jit.trace.* is deprecated", category=DeprecationWarning)
            # MONAI's SwinUNETR counts windows by numpy, which reads sizes of a trace as tensors.
            warnings.filterwarnings("ignore", message="__array_wrap__ must accept", category=DeprecationWarning)
            output = jit.trace(model, make_input())(make_input(batch=1))
        torch.testing.assert_close(output, model(make_input(batch=1)), atol=1e-5, rtol=1e-4)

    def test_gradient_checkpointing_changes_memory_and_nothing_else(
        self, build: Build, make_input: MakeInput, case: Case
    ) -> None:
        """For networks that take this argument."""
        if "gradient_checkpointing" not in model_spec(case[0]).parameters():
            pytest.skip("keeps all activations")
        plain, saving = build(), build(gradient_checkpointing=True)
        kept = []
        for model in (plain, saving):
            sizes: list[int] = []

            def pack(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
                sizes.append(tensor.numel())
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                output = model(make_input())
            output.square().mean().backward()
            kept.append(sum(sizes))
        assert kept[1] < kept[0]
        for (key, ours), theirs in zip(saving.named_parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, msg=key)
        for (key, held), other in zip(saving.named_buffers(), plain.buffers(), strict=True):
            torch.testing.assert_close(held, other, msg=key)

    def test_parameters_are_counted(self, build: Build, card: ModelCard) -> None:
        """As the card says."""
        assert card.parameters == sum(weights.numel() for weights in build().parameters())

    def test_receptive_field_is_what_a_gradient_reaches(self, build: Build, card: ModelCard) -> None:
        """Tiles overlap by what the card says."""
        if card.receptive_field is None:
            pytest.skip("sees everything")
        model = build().eval()
        make_linear(model)
        stride = card.sizes.efficient_multiple
        length = -(-(card.receptive_field + 3 * stride + card.output.lost) // stride) * stride
        small = max(card.sizes.minimum, stride if card.sizes.step == 1 else 1)
        shape = (1, 1, *[small] * (card.ndim - 1), card.sizes.fit(length))
        assert max(reached_widths(model, shape, stride * card.output.scale_factor)) == card.receptive_field
