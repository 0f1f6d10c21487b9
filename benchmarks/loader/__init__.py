"""The parts of `benchmarks/loader.py`: works and their data, ours and theirs, measuring, and tables."""
