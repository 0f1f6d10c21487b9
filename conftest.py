"""The order of tests: slow ones first, so that no worker is left with one of them at the end."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring slow tests to the front; all else stays in its order."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
