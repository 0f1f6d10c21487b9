"""Where work is done besides this process: processes of this machine that may die, and Dask's of a cluster.

All are executors of `concurrent.futures`, so that who hands out work need not know which.
"""

from csc_data.executors.processes import ProcessWorkers, WorkerDiedError

__all__ = ["ProcessWorkers", "WorkerDiedError"]
