"""Fingerprints of data that is made up, and a machine that is fast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from csc_data.fingerprint import ClassFacts, DatasetFacts, Fingerprint, Spread
from csc_train.plan import Machine

GB = 10**9


def make_facts(name: str, *, diameter: float | None = None, thickness: float | None = None, share: float = 0.1):
    """Return the facts of a class whose objects are about as large as said."""
    known = 5e9
    spread = None if diameter is None else Spread.of((diameter * np.linspace(0.6, 1.4, 21)).tolist())
    return ClassFacts(
        name=name,
        crops=10,
        crops_present=10,
        known_nm3=known,
        present_nm3=share * known,
        objects=100,
        diameter_nm=spread,
        bulk_nm=diameter,
        thickness_nm=thickness,
    )


@pytest.fixture
def facts() -> Callable[..., ClassFacts]:
    return make_facts


@pytest.fixture
def mito() -> ClassFacts:
    return make_facts("mito", diameter=320, thickness=200)


@pytest.fixture
def membrane() -> ClassFacts:
    return make_facts("er_mem", diameter=1500, thickness=14, share=0.01)


@pytest.fixture
def nucleus() -> ClassFacts:
    return make_facts("nuc", diameter=6000, thickness=4000)


@pytest.fixture
def fingerprint_of() -> Callable[..., Fingerprint]:
    def make(*classes, voxel_size=(4.0, 4.0, 4.0), crops=20, extent=4000.0, annotated=5e9):
        dataset = DatasetFacts(
            name="d",
            crops=crops,
            annotated_nm3=annotated,
            raw_voxel_size=voxel_size,
            label_voxel_size=voxel_size,
            grey=Spread.of([100.0]),
        )
        return Fingerprint(
            classes={entry.name: entry for entry in classes},
            datasets=(dataset,),
            validation_crops=3,
            crop_extent_nm=Spread.of([extent]),
            looked_at="made up",
        )

    return make


@pytest.fixture
def laptop() -> Machine:
    """Two cores for five minutes."""
    return Machine(device="cpu", memory_bytes=8 * GB, cores=2, seconds=300.0, flops=9e10)


@pytest.fixture
def workstation(laptop) -> Machine:
    """A GPU for a day; tests that build tensors do not use it."""
    return replace(laptop, device="cuda", memory_bytes=64 * GB, cores=16, seconds=86_400.0, flops=1e14, bf16=True)
