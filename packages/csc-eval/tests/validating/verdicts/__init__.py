"""Odd and hostile submissions, and what must come of them.

`cases` are scored by the official scorer, too: by tests against outcomes that were kept (``tests/data/verdicts.json``),
by ``benchmarks/verdicts.py`` against the scorer itself. `hostile` ones are run through the command, by tests and by
``benchmarks/fuzz_eval.py``.
"""
