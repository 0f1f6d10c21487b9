"""One word for one thing: what is not said any more, in code, messages and docs."""

import re
from collections import defaultdict
from pathlib import Path

# Between the words of a phrase may lie the end of a line with a comment's sign or a string's quotes.
GAP = r"[\s#\"']+f?[\"']?"
# What is not said any more; a match of the group ``fine`` is.
OLD_WORDS = {
    "lattice": r"(?i)lattice",  # a Grid is a grid
    "load_settings": r"\bload_settings\b",  # load_config: the user's choices are the Config
    "Settings": r"\bSettings(?=[.(\[\]`|])|(?<=[.`])Settings\b",  # Config, too; settings are an experiment's
    "user settings": r"(?i)\buser(?:'s)?[ _]settings\b",  # the user's configuration
    # "there is no X", "X is not Y"
    "is no": rf"(?i)(?P<fine>\bthere{GAP})?\b(?:is|are){GAP}no\b(?!{GAP}(?:longer|more)\b)",
}


def texts(root: Path) -> list[Path]:
    """Return the files that people read."""
    found = [root / "README.md", root / "CONTRIBUTING.md", root / "noxfile.py"]
    for folder in ("docs", "examples", "benchmarks"):
        found += [file for file in (root / folder).rglob("*") if file.suffix in {".md", ".py", ".toml"}]
    for folder in sorted((root / "packages").iterdir()):
        files = [file for file in (folder / "src").rglob("*") if file.suffix in {".py", ".pyi", ".toml"}]
        found += [file for file in (folder / "README.md", *sorted(files)) if file.is_file()]
    return found


def old_words(text: str) -> list[tuple[str, int]]:
    """Return each old word of a text, and its line."""
    return [
        (word, text.count("\n", 0, match.start()) + 1)
        for word, pattern in OLD_WORDS.items()
        for match in re.finditer(pattern, text)
        if not match.groupdict().get("fine")
    ]


def test_no_old_word_comes_back(root):
    places: defaultdict[str, list[str]] = defaultdict(list)
    for file in texts(root):
        for word, line in old_words(file.read_text("utf-8")):
            places[word].append(f"{file.relative_to(root)}:{line}")
    assert not places


def test_old_words_are_found_and_what_we_say_is_not():
    old = [
        "the Lattice of",
        "load_settings()",
        "user_settings.Settings",
        "X is no\n    # folder",
        'which is "\n  f"no box',
    ]
    new = ["a grid", "load_config()", "TrainSettings(", "there is no crop", 'There are "\n"no crops', "it is no longer"]
    assert [[word for word, _ in old_words(text)] for text in old] == [
        ["lattice"], ["load_settings"], ["Settings", "user settings"], ["is no"], ["is no"],
    ]  # fmt: skip
    assert not [found for text in new for found in old_words(text)]
