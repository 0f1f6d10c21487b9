"""Predict, process, pack and score on Dask's workers:  python on_dask.py train_3D.py

    pip install "csc-cli" "csc-data[dask]"

Here the workers are processes of this machine. On a cluster there is one line to change, `with local_cluster(...)`:

    with dask_jobqueue.SLURMCluster(cores=8, memory="64GB", queue="gpu", walltime="08:00:00", processes=1,
                                    job_extra_directives=["--gres=gpu:1"],
                                    worker_extra_args=["--nthreads", "1"]) as cluster:
        cluster.adapt(minimum_jobs=32, maximum_jobs=32)

(LSFCluster for LSF), or no script at all: `csc predict train_3D.py --cluster slurm --jobs 32` starts the same jobs, as
~/.config/dask/jobqueue.yaml describes them, and `--scheduler ADDRESS` takes a scheduler that runs already; `csc
process` and `csc pack-results` have these options, too. All machines must see the data folder under the same path.
What was finished when a run ended stays: the next one goes on.
"""

import sys

import dask.distributed

from csc_data import load_config
from csc_eval import score_submission
from csc_submit import pack_results, process
from csc_train import predict
from csc_train.prediction import ExecutionOptions


def local_cluster(workers=2, **options):
    """Start workers of this machine that do one block at a time, each with the threads that it wants."""
    return dask.distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None, **options)


def submit(experiment, address, config):
    """Make a submission of all test crops on the workers of a scheduler, and return where it lies."""
    predict(experiment, config=config, execution=ExecutionOptions(scheduler=address))
    process(experiment, crops="test", config=config, scheduler=address)
    return pack_results(config=config, scheduler=address).archive


def score(archive, address, config):
    """Score it label by label, where there is a truth."""
    with dask.distributed.Client(address, set_as_default=False) as client:
        return score_submission(archive, config.path("ground_truth"), executor=client.get_executor(pure=False))


if __name__ == "__main__":
    settings = load_config()
    with local_cluster(workers=2) as cluster:
        made = submit(sys.argv[1], cluster.scheduler_address, settings)
        print(f"{made}; csc validate {made} tells what the portal will say")
        if settings.path("ground_truth").exists():
            print(f"overall score {score(made, cluster.scheduler_address, settings).overall_score:.4f}")
