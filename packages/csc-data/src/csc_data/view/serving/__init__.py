"""A small server that shows volumes to a browser on this machine, and nothing else."""
