"""What the configuration says, and what is in the data folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from csc_cli.commands.doctor.finding import Finding
from csc_data.errors import CscError, MissingDataError
from csc_data.storage.paths import is_remote
from csc_data.wording import plural

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_data.splits.search import FoundCrop

FETCH = (
    "csc fetch-data brings the challenge's (--dry-run tells the size), csc convert your own; csc demo makes a small one"
)


def look_at_config(data: str | None) -> Finding:
    """Tell what the configuration says, and which file says it."""
    from csc_data.config.user_config import config_origins, config_path

    origins = config_origins(data=data)
    chosen = [f"{name} = {value} ({origin})" for name, (value, origin) in origins.items() if origin != "default"]
    file = config_path()
    there = f"{file}" if file.exists() else f"no file (it would be {file})"
    choices = {name: {"value": value, "from": origin} for name, (value, origin) in origins.items()}
    return Finding(
        name="config",
        said=f"{there}; {', '.join(chosen) or 'all as it is by default'}",
        details={"file": file, "there": file.exists(), "choices": choices},
    )


def look_at_data(config: Config) -> Iterator[Finding]:
    """Tell what volumes, annotated crops and test crops there are, and whether the datasplit fits them."""
    if not config.root.is_dir():
        yield Finding(name="data", state="missing", said=f"there is no folder {config.root.absolute()}", remedy=FETCH)
        return
    crops = _annotated(config)
    tests = _test_crops(config)
    volumes = sorted({crop.dataset for crop in crops if _is_there(crop.raw)} | set(tests))
    without = [f"{crop.dataset}/{crop.crop}" for crop in crops if not _is_there(crop.raw)]
    split = _datasplit(config) if crops or config.path("datasplit").exists() else None
    lacks = not volumes and (split is None or split.state == "missing")  # what it names may lie elsewhere
    found = {"volumes": volumes, "annotated_crops": len(crops), "test_crops": sum(tests.values())}
    said = (
        f"raw of {plural(len(volumes), 'data set')}, {plural(len(crops), 'annotated crop')}, "
        f"{plural(sum(tests.values()), 'test crop')} with raw"
    )
    yield Finding(
        name="data",
        state="missing" if lacks else "ok",
        said=f"{said} in {config.root.absolute()}" + (f"; {len(without)} without raw" if without else ""),
        remedy=FETCH if lacks else "",
        details={**found, "without_raw": without},
    )
    if split is not None:
        yield split


def _annotated(config: Config) -> list[FoundCrop]:
    from csc_data.splits.search import CropTemplates, search_crops
    from csc_data.storage.trees import open_tree

    templates = CropTemplates.below(config)
    return search_crops(open_tree(templates.labels), templates)


def _test_crops(config: Config) -> Mapping[str, int]:
    """Return how many test crops there are of each data set whose raw is there."""
    from csc_data.challenge.current_lists import load_present_test_crops

    return Counter(crop.dataset for crop in load_present_test_crops(config).values())


def _is_there(place: str) -> bool:
    return Path(place).is_dir() or Path(place.replace(".zarr", ".n5")).is_dir()


def _datasplit(config: Config) -> Finding:
    """Tell what the datasplit says, and whether what it names is there."""
    from csc_data.splits.split_file import read_datasplit

    file = config.path("datasplit")
    remedy = "csc make-datasplit"
    try:
        rows = read_datasplit(file, config.root)
    except MissingDataError:
        return Finding(name="datasplit", state="missing", said=f"there is no {file}", remedy=remedy)
    except CscError as error:
        return Finding(name="datasplit", state="missing", said=str(error), remedy=f"mend it, or {remedy}")
    absent = [row.crop for row in rows if not all(is_remote(p) or _is_there(p) for p in (row.raw, row.labels))]
    usages = Counter(row.usage for row in rows)
    said = f"{plural(usages['train'], 'crop')} to train, {usages['validate']} to validate: {file}"
    return Finding(
        name="datasplit",
        state="missing" if absent else "ok",
        said=said + (f"; {len(absent)} of them are not there: {', '.join(absent[:3])} ..." if absent else ""),
        remedy=remedy if absent else "",
        details={"file": file, "train": usages["train"], "validate": usages["validate"], "absent": absent},
    )
