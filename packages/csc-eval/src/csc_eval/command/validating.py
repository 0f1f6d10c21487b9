"""Whether the portal takes a submission, on a terminal."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from csc_data.wording import table
from csc_eval.validating.findings import Validation

SAID = {
    "accepted": "the portal takes it",
    "missing": "nothing of it is scored",
    "ends": "the portal's run ends without a result",
    "refused": "the portal refuses it",
}


def run_validate(*, submission: str, labels: bool, crops: str | None, data: str | None) -> int:
    """Check a submission and print what is found; returns the exit code."""
    from csc_data.config.user_config import load_config
    from csc_eval.validating.submission import validate_submission

    config = load_config(data=data)
    wanted = None if crops is None else [name.strip() for name in crops.split(",") if name.strip()]
    found = validate_submission(Path(submission), config=config, crops=wanted)
    click.echo(describe_validation(found, labels=labels))
    return 0 if found.ok else 1


def describe_validation(found: Validation, *, labels: bool = False) -> str:
    """Write a validation: what was found, and the verdict; with a table of all labels where it is asked for."""
    lines = []
    if labels:
        rows = [
            (label.crop, label.class_name, label.dtype, f"{label.voxels:,}", label.instances or "-", label.verdict)
            for label in found.labels
        ]
        lines.append(table(["crop", "class", "type", "voxels", "objects", ""], rows, indent="  "))
    lines += [f"  {finding.cause.verdict}: {finding}" for finding in found.findings]
    counts = Counter(label.verdict for label in found.labels)
    said = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    lines.append(f"{found.path}: {SAID[found.verdict]}" + (f"; labels: {said}" if said else ""))
    return "\n".join(lines)
