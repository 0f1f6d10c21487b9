#!/usr/bin/env bash
# Predict on as many GPUs as there are tasks in the array:
#
#     EXPERIMENT=train_3D.py CROPS=test sbatch predict_array.sh
#
# All tasks run the same command and share the blocks of all crops through the data folder: none is done twice, and
# those of a task that dies are done by the others. More tasks may be handed in at any time. What is finished stays, so
# an array that ran out of time is simply handed in again.
#
# Without this script, from a machine that may submit jobs: csc predict train_3D.py --cluster slurm --jobs 8, which
# starts a Dask worker in each job (pip install 'csc-data[dask]'; ../on_dask.py says where it is described).
# csc process and csc pack-results, which come next, take these options, too.
#
# Change partition, array, memory and time. Tried with stand-ins for sbatch and srun, not on a cluster.

#SBATCH --job-name=csc-predict
#SBATCH --partition=gpu
#SBATCH --array=1-8
#SBATCH --ntasks=1
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=08:00:00
#SBATCH --output=%x-%A_%a.log

set -euo pipefail

srun --cpus-per-task="$SLURM_CPUS_PER_TASK" csc predict "${EXPERIMENT:-train_3D.py}" --crops "${CROPS:-test}"
