#!/usr/bin/env bash
# Predict on as many GPUs as there are tasks in the array:
#
#     EXPERIMENT=train_3D.py CROPS=test bsub < predict_array.sh
#
# All tasks run the same command and share the blocks of all crops through the data folder: none is done twice, and
# those of a task that dies are done by the others. More tasks may be handed in at any time. What is finished stays, so
# an array that ran out of time is simply handed in again.
#
# Without this script, from a machine that may submit jobs: csc predict train_3D.py --cluster lsf --jobs 8, which
# starts a Dask worker in each job (pip install 'csc-data[dask]'; ../on_dask.py says where it is described).
# csc process and csc pack-results, which come next, take these options, too.
#
# Change queue, project (-P), array, slots and time. Tried with stand-ins for bsub and csc, not on a cluster.

#BSUB -J "csc-predict[1-8]"
#BSUB -q gpu
#BSUB -n 8
#BSUB -R "span[hosts=1] rusage[mem=32GB]"
#BSUB -gpu "num=1"
#BSUB -W 8:00
#BSUB -wa TERM
#BSUB -wt 1
#BSUB -o csc-predict-%J_%I.log

set -euo pipefail

# exec, so that the signal reaches csc itself, which then gives its blocks back at once
exec csc predict "${EXPERIMENT:-train_3D.py}" --crops "${CROPS:-test}"
