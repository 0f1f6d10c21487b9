"""The machine that an experiment is planned for."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from csc_data.errors import InvalidArgumentError
from csc_train.devices import choose_device

_FLOPS_OF_A_CORE = 4e10
_FLOPS = {"cuda": 2e13, "mps": 2e12}
_KEPT_FREE = 0.2  # of the memory: others, fragments, and what estimates leave out


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What there is to train with.

    Attributes
    ----------
    device : str
        "cuda", "mps" or "cpu", maybe with a number.
    memory_bytes : int
        What training may take of the device's memory.
    cores : int
    seconds : float
        The time that training may take.
    flops : float
        Floating point operations per second in training; a guess until it is measured.
    bf16 : bool
        Whether bfloat16 is fast here.
    """

    device: str
    memory_bytes: int
    cores: int
    seconds: float
    flops: float
    bf16: bool = False

    @property
    def kind(self) -> str:
        """The device without its number."""
        return self.device.partition(":")[0]


def look_at_machine(device: str | None, *, seconds: float, free_bytes: int, cores: int) -> Machine:
    """Return what there is to train with.

    Parameters
    ----------
    device : str or None
        By default the best there is.
    seconds : float
        The time that training may take.
    free_bytes : int
        Memory of the machine that is free; of a GPU its own is looked at.
    cores : int
        That may be used.

    Raises
    ------
    InvalidArgumentError
        If there is no such device, or no time.

    Examples
    --------
    >>> machine = look_at_machine("cpu", seconds=3600, free_bytes=2**33, cores=4)
    >>> machine.device, machine.cores, machine.memory_bytes < 2**33
    ('cpu', 4, True)
    """
    if seconds <= 0:
        raise InvalidArgumentError(f"training needs some time, got {seconds:g} s; give more minutes")
    chosen = choose_device(device)
    bf16 = False
    if chosen.type == "cuda":
        free_bytes, _ = torch.cuda.mem_get_info(chosen)
        bf16 = torch.cuda.is_bf16_supported()
    return Machine(
        device=str(chosen),
        memory_bytes=int(free_bytes * (1 - _KEPT_FREE)),
        cores=cores,
        seconds=seconds,
        flops=_FLOPS.get(chosen.type, _FLOPS_OF_A_CORE * cores),
        bf16=bf16,
    )
