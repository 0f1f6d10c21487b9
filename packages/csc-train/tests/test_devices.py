"""Devices, number formats and processes: what is chosen, and what must be as it is asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from csc_data.errors import InvalidArgumentError
from csc_train.devices import choose_precision, make_fabric, one_thread
from csc_train.processes import is_first_process

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


SRUN = {"SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "train"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "3"}


@pytest.mark.parametrize(("who", "variables"), [("srun", SRUN), ("torchrun", TORCHRUN)])
def test_other_processes_than_are_asked_for_are_one_line(monkeypatch, who, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    words = f"{who} started 8 processes on 2 machines.*set devices = 4 and num_nodes = 2, or start 2 processes$"
    with pytest.raises(InvalidArgumentError, match=words):
        make_fabric("cpu", "32-true", devices=2)


def test_a_shell_within_a_job_is_no_reason(monkeypatch):
    for name, value in {**SRUN, "SLURM_JOB_NAME": "bash"}.items():
        monkeypatch.setenv(name, value)
    assert make_fabric("cpu", "32-true").world_size == 1


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "4", "LOCAL_RANK": "0"}, False),
        ({"SLURM_PROCID": "2"}, False),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
    ],
)
def test_one_process_is_the_first(monkeypatch, variables, first):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() is first


def test_one_thread_holds_for_who_asks_for_it_and_no_other():
    torch.set_num_threads(3)
    with one_thread():
        assert torch.get_num_threads() == 1
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
    assert torch.get_num_threads() == 3
