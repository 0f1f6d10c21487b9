"""The ranking of a batch, and which places of it the crops do not tell apart."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from csc_data.storage.atomic import replace_text
from csc_eval.batch.entries import BatchOutcome
from csc_eval.comparing.comparison import Comparison, compare_results
from csc_eval.scoring.bootstrap import Interval
from csc_eval.scoring.results import SubmissionScore, finite_or_none


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedEntry:
    """A submission in the ranking.

    Attributes
    ----------
    evaluation_id : str
    rank : int or None
        From 1; None for one that has no score.
    overall, instance, semantic : float
        NaN without a score.
    interval : Interval or None
        Of what the ranking is by; None where there is one submission, or one crop.
    ranks : tuple of int or None
        Between which ranks 95 % of the resamples put it.
    like : tuple of str
        Those that the crops do not tell it apart from.
    problem : str
    submission : str
        Its path.
    """

    evaluation_id: str
    rank: int | None
    overall: float = math.nan
    instance: float = math.nan
    semantic: float = math.nan
    interval: Interval | None = None
    ranks: tuple[int, int] | None = None
    like: tuple[str, ...] = ()
    problem: str = ""
    submission: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """A batch, ranked; those without a score come last.

    Attributes
    ----------
    entries : tuple of RankedEntry
    comparison : Comparison or None
        Of those that have a score; None where that is one at most.
    truth : str
        What they were scored against, where it is known.
    time : str
        When the last of them was scored, ISO 8601.
    """

    entries: tuple[RankedEntry, ...]
    comparison: Comparison | None
    truth: str = ""
    time: str = ""


def rank(outcomes: Sequence[BatchOutcome]) -> Ranking:
    """Rank submissions that were scored against one truth by one set of rules."""
    paths = {outcome.entry.evaluation_id: str(outcome.entry.data_path) for outcome in outcomes}
    ranking = _rank(outcomes)
    scored = [outcome.result.scored for outcome in outcomes if outcome.result is not None and outcome.result.scored]
    return replace(
        ranking,
        entries=tuple(replace(one, submission=paths[one.evaluation_id]) for one in ranking.entries),
        truth=", ".join(sorted({each.truth for each in scored})),
        time=max((each.time for each in scored), default=""),
    )


def _rank(outcomes: Sequence[BatchOutcome]) -> Ranking:
    problems = {outcome.entry.evaluation_id: outcome.problem for outcome in outcomes}
    results = {o.entry.evaluation_id: o.result for o in outcomes if o.result is not None}
    failed = tuple(
        RankedEntry(evaluation_id=name, rank=None, problem=problem)
        for name, problem in problems.items()
        if name not in results
    )
    if len(results) < 2:
        alone = [_entry(name, result, 1, problem=problems[name]) for name, result in results.items()]
        return Ranking(entries=(*alone, *failed), comparison=None)
    comparison = compare_results(results)
    like: dict[str, list[str]] = {name: [] for name in results}
    for pair in comparison.overall.pairs:
        if not pair.is_told_apart:
            like[pair.one].append(pair.other)
            like[pair.other].append(pair.one)
    ranked = [
        _entry(
            one.name,
            results[one.name],
            one.rank,
            interval=None if math.isnan(one.interval.low) or comparison.overall.crops < 2 else one.interval,
            ranks=None if comparison.overall.crops < 2 else one.ranks,
            like=tuple(like[one.name]),
            problem=problems[one.name],
        )
        for one in comparison.standings
    ]
    return Ranking(entries=(*ranked, *failed), comparison=comparison)


def _entry(name: str, result: SubmissionScore, place: int, **more: Any) -> RankedEntry:
    combined = result.combined
    return RankedEntry(
        evaluation_id=name,
        rank=place,
        overall=combined.overall_score,
        instance=combined.overall_instance_score,
        semantic=combined.overall_semantic_score,
        **more,
    )


_SCORES = ("overall", "instance", "semantic")
HEADER = ("rank", "evaluation", *_SCORES, "95 % interval", "ranks (95 %)", "not told apart from")


def ranking_rows(ranking: Ranking) -> list[list[str]]:
    """Return the rows of a table with the columns `HEADER`, and what is wrong."""
    rows = []
    for one in ranking.entries:
        interval = "-" if one.interval is None else f"{one.interval.low:.4f} to {one.interval.high:.4f}"
        ranks = "-" if one.ranks is None else "-".join(map(str, dict.fromkeys(one.ranks)))
        like = ", ".join(one.like[:3]) + (f" and {len(one.like) - 3} more" if len(one.like) > 3 else "")
        scores = ["-" if math.isnan(v) else f"{v:.4f}" for v in (one.overall, one.instance, one.semantic)]
        rows.append([str(one.rank or "-"), one.evaluation_id, *scores, interval, ranks, like or "-", one.problem])
    return rows


def write_csv(ranking: Ranking, path: str | os.PathLike[str]) -> Path:
    """Write a ranking as a CSV, scores in full."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = ("rank", "evaluation_id", *_SCORES, "low", "high", "lowest_rank", "highest_rank")
    writer.writerow([*names, "not_told_apart", "problem", "data_path"])
    for one in ranking.entries:
        scores = ["" if math.isnan(v) else repr(v) for v in (one.overall, one.instance, one.semantic)]
        low, high = ("", "") if one.interval is None else (repr(one.interval.low), repr(one.interval.high))
        ranks = one.ranks or ("", "")
        row = [
            one.rank or "",
            one.evaluation_id,
            *scores,
            low,
            high,
            *ranks,
            " ".join(one.like),
            one.problem,
            one.submission,
        ]
        writer.writerow([_harmless(value) for value in row])
    replace_text(Path(path), stream.getvalue())
    return Path(path)


def _harmless(value: object) -> object:
    """Keep a spreadsheet from taking a name for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t" and value else value


def write_json(ranking: Ranking, path: str | os.PathLike[str]) -> Path:
    """Write a ranking, and the comparison that it is of, as JSON."""
    replace_text(Path(path), json.dumps(finite_or_none(asdict(ranking)), indent=1) + "\n")
    return Path(path)
