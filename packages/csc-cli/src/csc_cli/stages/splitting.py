"""Making a datasplit, and telling what is on which side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from csc_cli.console import plural, say, table

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_data.splits.search import CropTemplates
    from csc_data.splits.splitting import Datasplit, SplitOptions


def split_crops(
    config: Config,
    options: SplitOptions,
    *,
    where: CropTemplates | None = None,
    csv_path: str | None = None,
    dry_run: bool = False,
) -> Datasplit:
    """Make a datasplit, write it, and tell what is on which side."""
    from csc_data.splits.splitting import make_datasplit

    split = make_datasplit(where or config, options)
    _tell(split)
    usages = [row.usage for row in split.rows]
    summary = f"{plural(usages.count('train'), 'crop')} to train, {usages.count('validate')} to validate"
    if dry_run:
        say(f"{summary}; nothing was written (--dry-run)")
        return split
    _write(split, Path(csv_path) if csv_path else config.path("datasplit"), summary)
    say("next: csc train CONFIG")
    return split


def _tell(split: Datasplit) -> None:
    rows = [
        (name, counts["train"], counts["validate"], f"{voxels['train']:,}", f"{voxels['validate']:,}")
        for name, counts, voxels in ((name, split.crops[name], split.voxels[name]) for name in split.crops)
    ]
    say(table(["class", "train crops", "validate crops", "train voxels", "validate voxels"], rows))
    for problem in split.left_out:
        say(f"  left out: {problem}")
    usages = {row.usage for row in split.rows}
    if "validate" not in usages and len(split.rows) > 1:
        say("  no crop validates: each is the only one with some class, or none was wanted; name fewer classes with -c")
    for text, names in (
        ("present nowhere", [n for n, c in split.crops.items() if not c["train"] and not c["validate"]]),
        ("without a training crop", [n for n, c in split.crops.items() if not c["train"] and c["validate"]]),
        ("without a validation crop", [n for n, c in split.crops.items() if c["train"] and not c["validate"]]),
    ):
        if names:
            say(f"  {text}: {', '.join(names)}")


def _write(split: Datasplit, file: Path, summary: str) -> None:
    from csc_data.splits.split_file import write_datasplit

    before = file.read_bytes() if file.exists() else None
    write_datasplit(file, split.rows)
    if before is not None and before != file.read_bytes():
        backup = file.with_name(f"{file.name}.bak")  # somebody may have edited it
        backup.write_bytes(before)
        say(f"  the former {file.name} is now {backup}")
    say(f"{summary}: wrote {file}")
