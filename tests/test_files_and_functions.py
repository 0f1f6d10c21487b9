"""The size of folders, files and functions, and where tests lie."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

MOST_FILES = 12
# A file for each command and for each kind of network: a listing of them is a listing of what there is.
LARGER_FOLDERS = {"csc_cli/commands", "csc_models/nets"}
MOST_LINES_OF_A_FILE = 500
MOST_LINES = 80
MOST_PARAMETERS = 5

# Longer without their docstrings; nothing may be added.
LONG_FUNCTIONS: set[str] = set()
# Functions with more parameters; nothing may be added. A network's own `__init__` needs no entry.
MANY_PARAMETERS = {
    # Signatures of the official toolbox, so that people's scripts run.
    "csc_data/loader/dataloader.py get_dataloader",
    "csc_data/splits/official_names.py make_datasplit_csv",
    "csc_data/splits/official_names.py make_s3_datasplit_csv",
    "csc_eval/placing/align.py match_crop_space",
    "csc_models/checkpoint/selection.py load_best_val",
    # Signatures of urllib.
    "csc_data/challenge/refreshing.py _OnlySafe.redirect_request",
    "csc_models/pretrained/download.py _NoDowngrade.redirect_request",
    # Loops that numba compiles: it takes arrays and numbers.
    "csc_data/loader/sources/gathering/labels.py _take_row",
    "csc_data/loader/sources/gathering/labels.py label_turned",
    "csc_data/loader/sources/gathering/labels.py take_stored",
    "csc_data/loader/sources/gathering/raw.py _cubic_piece",
    "csc_data/loader/sources/gathering/raw.py _linear_piece",
    "csc_data/loader/sources/gathering/raw.py gather_along_axes",
    "csc_data/loader/sources/gathering/raw.py gather_turned",
    "csc_data/loader/targets/surfaces.py _hidden",
    # A command has a parameter for each of its options.
    "csc_cli/commands/data_preview/command.py data_preview",
    "csc_cli/commands/fetch_data/command.py fetch_data",
    "csc_cli/commands/models/export.py export",
    "csc_eval/command/batch.py run_batch",
    "csc_eval/command/terminal.py run_evaluate",
    # What people call to post-process, pack and predict: a keyword for each choice.
    "csc_submit/packing/official_calls.py save_numpy_class_arrays_to_zarr",
    "csc_submit/packing/official_calls.py save_numpy_class_labels_to_zarr",
    "csc_submit/packing/pack.py pack_results",
    "csc_submit/processing/process.py process",
    "csc_train/prediction/predict.py predict",
    # To be made shorter.
    "csc_data/formats/writing.py create_array",
    "csc_data/view/layers.py array_layer",
    "csc_data/volumes/volume.py create_multiscale",
    "csc_data/volumes/volume.py write_multiscale",
    "csc_eval/running/submission.py score_crop",
    "csc_eval/running/submission.py score_submission",
}
# Folders of tests whose subject is not one folder of the package; nothing may be added.
TEST_FOLDERS: set[str] = set()


def functions(node: ast.AST, names: tuple[str, ...] = ()) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the dotted name and the definition of every function in a module, a class or a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from functions(child, (*names, child.name))
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield ".".join((*names, child.name)), child
            yield from functions(child, (*names, child.name))
        else:
            yield from functions(child, names)


def all_functions(sources: dict[str, list[Path]]) -> Iterator[tuple[str, ast.FunctionDef]]:
    for package, files in sources.items():
        for file in files:
            place = f"{package}/{file.as_posix().split(f'/src/{package}/')[1]}"
            for name, function in functions(ast.parse(file.read_text("utf-8"))):
                yield f"{place} {name}", function


def length(function: ast.FunctionDef) -> int:
    """Return the lines of a function without its docstring: explaining more must not cost anything."""
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    spared = docstring.end_lineno - docstring.lineno + 1 if docstring else 0
    return function.end_lineno - function.lineno + 1 - spared


def parameters(function: ast.FunctionDef) -> int:
    """Return how many arguments a caller may give; ``*args`` and ``**kwargs`` count as one each."""
    arguments = function.args
    named = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in named if name not in {"self", "cls"}]) + sum(
        argument is not None for argument in (arguments.vararg, arguments.kwarg)
    )


def test_no_file_is_a_grab_bag_or_too_long(sources):
    for files in sources.values():
        for file in files:
            assert file.stem not in {"utils", "util", "helpers", "common", "misc"}, file
            assert len(file.read_text("utf-8").splitlines()) <= MOST_LINES_OF_A_FILE, file


def test_a_folder_holds_at_most_a_dozen_files(sources):
    crowded = {}
    for files in sources.values():
        for folder in {file.parent for file in files}:
            name = folder.as_posix().split("/src/")[1]
            count = sum(file.parent == folder and file.suffix == ".py" for file in files)
            if count > MOST_FILES and name not in LARGER_FOLDERS:
                crowded[name] = count
    assert not crowded


def test_functions_are_short(sources):
    found = {name for name, function in all_functions(sources) if length(function) > MOST_LINES}
    assert not found - LONG_FUNCTIONS
    assert not LONG_FUNCTIONS - found, "these are short now: take them off LONG_FUNCTIONS"


def test_functions_take_few_parameters(sources):
    found = {
        name
        for name, function in all_functions(sources)
        if parameters(function) > MOST_PARAMETERS
        and not (name.startswith("csc_models/nets/") and name.endswith(".__init__"))
    }
    assert not found - MANY_PARAMETERS, "give these a frozen dataclass, or fewer parameters"
    assert not MANY_PARAMETERS - found, "these take few parameters now: take them off MANY_PARAMETERS"


def test_lengths_and_parameters_are_counted_as_promised():
    text = '''
class A:
    def f(self, a, /, b, *args, c=1, **options):
        """Two lines

        that do not count."""

        async def g(a):
            return a
'''
    found = {name: (length(function), parameters(function)) for name, function in functions(ast.parse(text))}
    assert found == {"A.f": (4, 5), "A.f.g": (2, 1)}


def test_tests_lie_where_their_subject_lies(root, sources):
    astray = set()
    for package in sources:
        folder = root / "packages" / package.replace("_", "-")
        for file in (folder / "tests").rglob("test_*.py"):
            place = file.parent.relative_to(folder / "tests")
            if not (folder / "src" / package / place).is_dir():
                astray.add(f"{folder.name}/{place.as_posix()}")
    assert astray == TEST_FOLDERS


def test_the_file_for_each_typical_change_exists(root):
    text = (root / "docs/typical_changes.md").read_text("utf-8")
    changes = re.findall(r"^(\d+)\. (?:.|\n(?!\n|\d+\.))+?-> (`\S+`(?:, `\S+`)*)$", text, flags=re.MULTILINE)
    assert [int(number) for number, _ in changes] == list(range(1, 46))
    missing = [
        f"{number}: {file}"
        for number, files in changes
        for file in re.findall(r"`(\S+)`", files)
        if not (root / file).is_file()
    ]
    assert not missing


def test_what_sessions_run_of_each_package_exists(root):
    """A name that is gone would only be seen minutes into `nox -s isolated`."""
    tree = ast.parse((root / "noxfile.py").read_text("utf-8"))
    chosen = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in {"ALONE", "WITH_ZARR", "WITHOUT_LOWEST"}
    ]
    assert len(chosen) == 3
    places = [
        root / "packages" / package / "tests" / name
        for packages in chosen
        for package, names in packages.items()
        for name in names
    ]
    assert [place for place in places if not place.exists()] == []
