#!/usr/bin/env bash
# Train on all GPUs of one machine:
#
#     EXPERIMENT=train_3D.py bsub < train.sh
#
# Training starts a process for each GPU. Two minutes before the time is over LSF tells it to save the run, and the next
# job goes on at the very batch; one that finds all epochs done ends at once. So hand in a few more, each to follow the
# one before:
#
#     EXPERIMENT=train_3D.py bsub -w 'ended("csc-train")' < train.sh
#
# Change queue, project (-P), GPUs, slots and time. Tried with stand-ins for bsub and csc, not on a cluster.

#BSUB -J csc-train
#BSUB -q gpu
#BSUB -n 32
#BSUB -R "span[hosts=1] rusage[mem=128GB]"
#BSUB -gpu "num=4"
#BSUB -W 24:00
#BSUB -wa USR1
#BSUB -wt 2
#BSUB -o csc-train-%J.log

set -euo pipefail

GPUS=${GPUS:-4}  # as many as -gpu says

# exec, so that the signal reaches csc itself
exec csc train "${EXPERIMENT:-train_3D.py}" \
    --set devices="$GPUS" \
    --set num_workers="$((LSB_DJOB_NUMPROC / GPUS))"
