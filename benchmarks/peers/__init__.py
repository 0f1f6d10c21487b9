"""The parts of ``benchmarks/peers.py``: both sides train on the same crops and are scored the same way."""
