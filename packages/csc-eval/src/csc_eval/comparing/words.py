"""A comparison in words, for terminals."""

from __future__ import annotations

import math

from csc_data.wording import plural, table
from csc_eval.comparing.comparison import ClassComparison, Comparison, PairDifference
from csc_eval.scoring.bootstrap import Interval

WHOLE = {"overall": "overall score", "instance": "instance score", "semantic": "semantic score"}


def describe_comparison(found: Comparison) -> str:
    """Write a comparison: ranking, pairs of results, classes."""
    crops = plural(found.overall.crops, "crop")
    return "\n\n".join(
        [
            f"{WHOLE[found.overall.name]} by {found.rules}, {crops} drawn with replacement {found.resamples} times",
            table(*ranking_rows(found)),
            f"stability of the ranking (Kendall's tau of resamples, mean): {found.tau:.2f}",
            "\n".join(describe_pair(pair) for pair in found.overall.pairs),
            "\n".join([table(*class_rows(found)), *quirk_lines(found)]),
        ]
    )


def ranking_rows(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return the ranking as a table."""
    rows = [
        [
            str(one.rank),
            one.name,
            f"{one.score:.4f}",
            words_of(one.interval),
            "-".join(map(str, dict.fromkeys(one.ranks))),
            f"{one.shares[0]:.0%}",
        ]
        for one in found.standings
    ]
    return ["rank", "result", found.overall.name, "95 % interval", "ranks (95 %)", "first in"], rows


def class_rows(found: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return a table of classes: scores, and for two results their difference, for more what is ahead of what."""
    names = [standing.name for standing in found.standings]
    two = len(names) == 2
    header = ["class", "crops", *names, *(["difference", "95 % interval", "ahead in"] if two else ["surely ahead"])]
    rows = []
    for one in found.classes:
        scores = [f"{one.scores[name]:.4f}{'*' if name in one.quirks else ''}" for name in names]
        if two:
            (pair,) = one.pairs
            ahead = "-" if math.isnan(pair.ahead) else f"{pair.ahead:.0%}"
            rest = [f"{pair.difference:+.4f}", words_of(pair.interval), ahead]
        else:
            rest = [", ".join(surely_ahead(one)) or "-"]
        rows.append([one.name, str(one.crops), *scores, *rest])
    return header, rows


def quirk_lines(found: Comparison) -> list[str]:
    """Say which scores, marked with a star, say nothing of the voxels, and by which rule."""
    lines = []
    for one in found.classes:
        for quirk in dict.fromkeys(one.quirks.values()):
            named = [name for name, text in one.quirks.items() if text == quirk]
            whose = "all" if len(named) == len(one.scores) else ", ".join(named)
            lines.append(f"* {one.name} of {whose}: {quirk}")
    return lines


def surely_ahead(one: ClassComparison) -> list[str]:
    """Name the results that are told apart from at least one other, and ahead of it."""
    winners = (pair.one if pair.difference > 0 else pair.other for pair in one.pairs if pair.is_told_apart)
    return list(dict.fromkeys(winners))


def describe_pair(pair: PairDifference) -> str:
    """Write how much one result is ahead of another."""
    if math.isnan(pair.ahead):
        return f"{pair.one} - {pair.other}: {pair.difference:+.4f}; of one crop nothing can be said about others"
    verdict = "told apart" if pair.is_told_apart else "not told apart by these crops"
    return (
        f"{pair.one} - {pair.other}: {pair.difference:+.4f} ({words_of(pair.interval)}), "
        f"ahead in {pair.ahead:.0%} of resamples: {verdict}"
    )


def words_of(interval: Interval) -> str:
    """Write an interval.

    >>> words_of(Interval(low=0.1, high=0.25, crops=3))
    '0.1000 to 0.2500'
    """
    return "-" if math.isnan(interval.low) else f"{interval.low:.4f} to {interval.high:.4f}"
