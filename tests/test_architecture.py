"""Who may import whom, as docs/architecture.md draws it."""

import ast
import tomllib
from pathlib import Path

import pytest

ALLOWED = {
    "csc_data": set(),
    "csc_models": set(),
    "csc_eval": {"csc_data"},
    "csc_submit": {"csc_data", "csc_eval"},
    "csc_train": {"csc_data", "csc_models", "csc_eval"},
    "csc_cli": {"csc_data", "csc_models", "csc_eval", "csc_submit", "csc_train"},
}


def imports_of(file: Path) -> list[tuple[str, str, int]]:
    """Return (package, rest of the dotted name, line) of every import of one of ours."""
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package in ALLOWED:
                found.append((package, rest, node.lineno))
    return found


def sources(root: Path, package: str) -> list[Path]:
    files = sorted((root / "packages" / package.replace("_", "-") / "src").rglob("*.py"))
    assert files, f"{package} has no sources"
    return files


@pytest.mark.parametrize("package", ALLOWED)
def test_packages_import_only_those_below_them(root, package):
    wrong = [
        f"{file.relative_to(root)}:{line} imports {other}"
        for file in sources(root, package)
        for other, _, line in imports_of(file)
        if other != package and other not in ALLOWED[package]
    ]
    assert not wrong


@pytest.mark.parametrize("package", ALLOWED)
def test_no_package_uses_private_names_of_a_sibling(root, package):
    wrong = [
        f"{file.relative_to(root)}:{line} imports {other}.{rest}"
        for file in sources(root, package)
        for other, rest, line in imports_of(file)
        if other != package and any(part.startswith("_") and not part.startswith("__") for part in rest.split("."))
    ]
    assert not wrong


@pytest.mark.parametrize("package", ALLOWED)
def test_declared_siblings_are_those_that_may_be_imported_and_have_bounds(root, package):
    table = tomllib.loads((root / "packages" / package.replace("_", "-") / "pyproject.toml").read_text("utf-8"))
    requirements = [r for r in table["project"]["dependencies"] if r.startswith("csc-")]
    names = {r.split("[")[0].split(">")[0].replace("-", "_") for r in requirements}
    assert names <= ALLOWED[package]
    assert all(">=" in r and "<" in r for r in requirements), requirements


@pytest.mark.parametrize("package", ALLOWED)
def test_no_source_file_is_a_grab_bag_or_too_long(root, package):
    for file in sources(root, package):
        assert file.stem not in {"utils", "util", "helpers", "common", "misc"}, file
        assert len(file.read_text("utf-8").splitlines()) <= 500, file


def test_constraints_stand_in_both_files_alike(root):
    text = (root / "constraints.txt").read_text("utf-8")
    listed = [line for line in text.splitlines() if line and not line.startswith("#")]
    table = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    assert [line.replace("'", '"') for line in table["tool"]["uv"]["constraint-dependencies"]] == [
        line.replace("'", '"') for line in listed
    ]
    assert all("==" in line and "://" not in line for line in listed)
