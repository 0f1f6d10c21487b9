"""What is said in several files of the project is the same in all of them."""

import re
import tomllib


def test_every_package_names_the_same_repository(root):
    def urls(place):
        return tomllib.loads((root / place / "pyproject.toml").read_text("utf-8"))["project"]["urls"]

    address = urls(".")["Repository"]
    owner, name = re.fullmatch(r"https://github\.com/([^/]+)/([^/]+)", address).groups()
    site = f"https://{owner}.github.io/{name}/"
    packages = sorted((root / "packages").iterdir())
    for package in packages:
        assert urls(package) == {
            "Homepage": address,
            "Documentation": site,
            "Repository": address,
            "Changelog": f"{address}/blob/main/packages/{package.name}/CHANGELOG.md",
            "Issues": f"{address}/issues",
            "Challenge": "https://cellmapchallenge.janelia.org",
        }
    readmes = [package / "README.md" for package in packages]
    others = [root / "CITATION.cff", root / "SECURITY.md", root / "CODE_OF_CONDUCT.md"]
    for file in (*readmes, *others, *(root / ".github").rglob("*.yml")):
        text = file.read_text("utf-8")
        for found in re.findall(rf"https://[^\s)\"']*\b{name}\b", text):
            assert found in {address, site.rstrip("/")} or found.endswith(f".com/{owner}/{name}"), (file, found)


def test_links_of_readmes_lead_somewhere_on_a_package_index(root):
    for file in root.glob("packages/*/README.md"):
        links = re.findall(r"\]\(([^)]+)\)", file.read_text("utf-8"))
        assert links
        assert [link for link in links if not link.startswith(("https://", "#"))] == [], file


def test_commits_are_checked_by_the_versions_that_ci_takes(root):
    groups = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    lint = dict(re.fullmatch(r"([\w-]+)==([\w.]+).*", entry).groups() for entry in groups["lint"])
    hooks = re.findall(r'"([\w-]+)==([\w.]+)"', (root / ".pre-commit-config.yaml").read_text("utf-8"))
    shared = {name for name, _ in hooks if name in lint}
    assert shared == {"ruff", "zizmor", "check-jsonschema"}
    assert {(name, version) for name, version in hooks if name in shared} == {(name, lint[name]) for name in shared}


def test_sessions_that_workflows_and_contributing_name_are_there(root):
    text = (root / "noxfile.py").read_text("utf-8")
    sessions = set(re.findall(r"^@nox\.session.*\n(?:@.*\n)*def (\w+)", text, flags=re.MULTILINE))
    sessions = {name.removesuffix("_session") for name in sessions}
    assert {"lint", "tests", "build", "quick"} <= sessions
    workflows = "\n".join(file.read_text("utf-8") for file in (root / ".github" / "workflows").iterdir())
    named = set(re.findall(r"nox -s (\w+)", workflows))
    for line in re.findall(r"sessions?:((?: \[.+\])|(?:\n +- .+)+)", workflows):
        named |= set(re.findall(r"\w+", line))
    assert {"tests", "mutants", "release"} <= named
    assert named <= sessions
    contributing = (root / "CONTRIBUTING.md").read_text("utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", contributing, flags=re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"\w+", row)} == sessions
