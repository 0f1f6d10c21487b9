"""The parts of ``benchmarks/peers.py``: both sides train on the same crops and are scored the same way."""

import os

# Before torch is imported, and for nnU-Net's process, too: threads that wait by spinning would count as CPU seconds.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
