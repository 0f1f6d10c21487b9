"""What every test of the repository shares: slow ones come first, and none leaves a process group's address behind."""

from __future__ import annotations

import os

import pytest

RENDEZVOUS = ("MASTER_ADDR", "MASTER_PORT", "RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring slow tests to the front, so that no worker is left with one at the end; all else stays in its order."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def _no_process_group_left_behind():
    # Fabric writes where processes meet into the environment; a later test's process would join a group that is gone.
    before = {name: os.environ.get(name) for name in RENDEZVOUS}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
