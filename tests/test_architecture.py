"""Who may import whom, as docs/architecture.md draws it: between packages, and between the rooms of one.

All imports count: those inside functions, those of a lazy ``__init__.pyi``, and those under ``TYPE_CHECKING``, because
who reads a module has to know what it names, whenever Python looks for it.
"""

import ast
import functools
import graphlib
import importlib.metadata
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ALLOWED = {
    "csc_data": set(),
    "csc_models": set(),
    "csc_eval": {"csc_data"},
    "csc_submit": {"csc_data", "csc_eval"},
    "csc_train": {"csc_data", "csc_models", "csc_eval"},
    "csc_cli": {"csc_data", "csc_models", "csc_eval", "csc_submit", "csc_train"},
}
# A room imports from rooms on floors below its own.
FLOORS_OF_CSC_DATA = (
    {"errors", "wording"},
    {"geometry", "storage", "executors"},
    {"blocks", "config"},
    {"challenge", "formats"},
    {"volumes"},
    {"splits", "fetching", "synthetic", "converting", "view"},
    {"loader", "fingerprint"},
)
MOST_FLOORS = 7
# Parts of a library that stand under a name of their own, and come with it in the very version that it needs.
PARTS = {"pydantic_core": "pydantic"}


@functools.cache
def import_nodes(file: Path) -> list[ast.Import | ast.ImportFrom]:
    return [
        node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Import | ast.ImportFrom)
    ]


def imports_of(file: Path, folder: Path) -> Iterator[tuple[str, str, int]]:
    """Yield (module, name taken from it or nothing, line) of every import of one of ours; `folder` is the package's."""
    # What a relative import starts from: the package that a module lies in.
    inside = [folder.name, *file.relative_to(folder).parent.parts]
    for node in import_nodes(file):
        if isinstance(node, ast.Import):
            found = [(alias.name, "") for alias in node.names]
        else:
            start = inside[: len(inside) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            found = [(module, alias.name) for alias in node.names]
        yield from ((module, name, node.lineno) for module, name in found if module.split(".")[0] in ALLOWED)


def module_graph(files: list[Path], folder: Path) -> dict[str, set[str]]:
    """Return which modules of a package import which others of it."""
    names = {file: module_name(file, folder) for file in files}
    modules = set(names.values())
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for file, own in names.items():
        for module, name, _ in imports_of(file, folder):
            target = f"{module}.{name}" if f"{module}.{name}" in modules else module
            if target in modules and target != own:
                graph[own].add(target)
    return graph


def module_name(file: Path, folder: Path) -> str:
    parts = [folder.name, *file.relative_to(folder).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_graph(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return which folders and files at the root of a package import from which; its own ``__init__`` is its door."""
    rooms: dict[str, set[str]] = {name.split(".")[1]: set() for name in graph if "." in name}
    for module, targets in graph.items():
        own = module.split(".")[1:2]
        for room in own:
            rooms[room] |= {target.split(".")[1] for target in targets if "." in target} - {room}
    return rooms


def floors(rooms: dict[str, set[str]]) -> dict[str, int]:
    """Return on which floor each room lies: one above the highest that it imports from."""
    found: dict[str, int] = {}
    for room in graphlib.TopologicalSorter(rooms).static_order():
        found[room] = 1 + max((found[below] for below in rooms[room]), default=0)
    return found


@pytest.fixture(params=ALLOWED)
def package(request) -> str:
    return request.param


@pytest.fixture
def files(sources, package) -> list[Path]:
    return sources[package]


@pytest.fixture
def folder(root, package) -> Path:
    return root / "packages" / package.replace("_", "-") / "src" / package


@pytest.fixture
def graph(files, folder) -> dict[str, set[str]]:
    return module_graph(files, folder)


def test_packages_import_only_those_below_them(root, package, files, folder):
    wrong = [
        f"{file.relative_to(root)}:{line} imports {module}"
        for file in files
        for module, _, line in imports_of(file, folder)
        if module.split(".")[0] not in {package, *ALLOWED[package]}
    ]
    assert not wrong


def test_no_package_uses_private_names_of_a_sibling(root, package, files, folder):
    wrong = [
        f"{file.relative_to(root)}:{line} imports {module}.{name}"
        for file in files
        for module, name, line in imports_of(file, folder)
        if module.split(".")[0] != package
        and any(part.startswith("_") and not part.startswith("__") for part in [*module.split("."), name])
    ]
    assert not wrong


def test_declared_siblings_are_those_that_may_be_imported_and_have_bounds(root, package):
    table = tomllib.loads((root / "packages" / package.replace("_", "-") / "pyproject.toml").read_text("utf-8"))
    requirements = [r for r in table["project"]["dependencies"] if r.startswith("csc-")]
    names = {r.split("[")[0].split(">")[0].replace("-", "_") for r in requirements}
    assert names <= ALLOWED[package]
    assert all(">=" in r and "<" in r for r in requirements), requirements


def test_there_is_no_circle_between_modules(graph):
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        # It lists the modules in the order in which they are needed.
        pytest.fail("each of these is imported by the next: " + ", ".join(error.args[1]))


def test_rooms_lie_on_at_most_seven_floors_without_circles(graph):
    found = floors(room_graph(graph))
    assert max(found.values()) <= MOST_FLOORS, sorted(found.items(), key=lambda item: item[1])


@pytest.mark.parametrize("package", ["csc_data"], indirect=True)
def test_rooms_of_csc_data_import_only_from_floors_below(graph):
    floor = {room: number for number, rooms in enumerate(FLOORS_OF_CSC_DATA) for room in rooms}
    rooms = room_graph(graph)
    assert set(rooms) == set(floor)
    wrong = [f"{room} imports {below}" for room in rooms for below in rooms[room] if floor[below] >= floor[room]]
    assert not wrong


def test_a_circle_an_import_in_a_function_and_a_stub_are_seen(tmp_path):
    folder = tmp_path / "csc_data"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "__init__.pyi").write_text("from .one import f as f\n")
    (folder / "one.py").write_text("def f():\n    from csc_data import two\n")
    (folder / "two.py").write_text("if TYPE_CHECKING:\n    import csc_data.three\n")
    (folder / "three.py").write_text("from csc_data import f\n")
    graph = module_graph(sorted(folder.rglob("*.py*")), folder)
    assert graph == {
        "csc_data": {"csc_data.one"},
        "csc_data.one": {"csc_data.two"},
        "csc_data.two": {"csc_data.three"},
        "csc_data.three": {"csc_data"},
    }
    assert floors(room_graph(graph)) == {"three": 1, "two": 2, "one": 3}
    with pytest.raises(pytest.fail.Exception, match=r"csc_data\.three, csc_data"):
        test_there_is_no_circle_between_modules(graph)


def test_constraints_stand_in_both_files_alike(root):
    text = (root / "constraints.txt").read_text("utf-8")
    listed = [line for line in text.splitlines() if line and not line.startswith("#")]
    table = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    assert [line.replace("'", '"') for line in table["tool"]["uv"]["constraint-dependencies"]] == [
        line.replace("'", '"') for line in listed
    ]
    assert all("==" in line and "://" not in line for line in listed)


def third_party(files: list[Path]) -> set[str]:
    """Return the distributions that a package imports, wherever in its modules."""
    roots = set()
    for file in files:
        for node in import_nodes(file):
            if isinstance(node, ast.Import):
                roots |= {alias.name.split(".")[0] for alias in node.names}
            elif node.module and not node.level:
                roots.add(node.module.split(".")[0])
    return {PARTS.get(name, name) for name in roots} - set(sys.stdlib_module_names) - set(ALLOWED)


def requirements(root: Path, package: str, *, extras: bool) -> list[Requirement]:
    """Return what the pyproject.toml of a package asks for."""
    table = tomllib.loads((root / "packages" / package.replace("_", "-") / "pyproject.toml").read_text("utf-8"))
    listed = [*table["project"]["dependencies"]]
    if extras:
        listed += [entry for group in table["project"].get("optional-dependencies", {}).values() for entry in group]
    return [Requirement(entry) for entry in listed]


@pytest.fixture(scope="session")
def brings() -> Mapping[str, list[str]]:
    """Which distributions bring a module."""
    return importlib.metadata.packages_distributions()


def test_what_is_imported_is_declared(root, package, files, brings):
    """So that a wheel that is installed alone has it: `tests` runs where everything is installed."""
    declared = {canonicalize_name(r.name) for r in requirements(root, package, extras=True)}
    missing = {
        name
        for name in third_party(files)
        if not {canonicalize_name(distribution) for distribution in brings.get(name, [name])} & declared
    }
    assert not missing


def test_packages_ask_for_the_same_lowest_versions(root):
    """So that one environment with the lowest versions of all packages is that of each."""
    lowest: dict[str, set[str]] = {}
    for package in ALLOWED:
        for requirement in requirements(root, package, extras=False):
            lowest.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier))
    assert not {name: found for name, found in lowest.items() if len(found) > 1}
