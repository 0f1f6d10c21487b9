"""Devices and number formats: what is chosen where nobody says."""

from __future__ import annotations

import pytest
import torch

from csc_train.devices import choose_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("has", "expected"),
    [({"avx512_bf16": True}, "bf16-mixed"), ({"amx_bf16": True}, "bf16-mixed"), ({"avx512_f": True}, "32-true")],
)
def test_auto_is_bfloat16_where_the_processor_computes_with_it(monkeypatch, has, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert choose_precision("auto", CPU) == expected
    assert choose_precision("32-true", CPU) == "32-true"


def test_auto_is_float32_where_torch_does_not_say(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert choose_precision("auto", CPU) == "32-true"


@pytest.mark.parametrize(("emulates", "expected"), [(False, "bf16-mixed"), (True, "32-true")])
def test_graphics_cards_that_emulate_it_compute_in_float32(monkeypatch, emulates, expected):
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or not emulates
    )
    assert choose_precision("auto", torch.device("cuda")) == expected
