"""Odd submissions, and whether what is said of them is what the official scorer makes of them.

Used by a test, against outcomes that were kept, and by ``benchmarks/verdicts.py``, against the official scorer.
"""
