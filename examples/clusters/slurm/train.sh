#!/usr/bin/env bash
# Train on all GPUs of one machine:
#
#     EXPERIMENT=train_3D.py sbatch train.sh
#
# srun starts a process for each GPU. Two minutes before the time is over it tells them to save the run, and the next
# job of this name goes on at the very batch; one that finds all epochs done ends at once. So hand in a few in a row:
#
#     for _ in 1 2 3; do EXPERIMENT=train_3D.py sbatch --dependency=singleton train.sh; done
#
# Change partition, GPUs (with as many tasks), memory and time. `sbatch --nodes=2 train.sh` trains on two machines.
# Tried with stand-ins for sbatch and srun, not on a cluster.

#SBATCH --job-name=csc-train
#SBATCH --partition=gpu
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gres=gpu:4
#SBATCH --cpus-per-task=8
#SBATCH --mem=128G
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --output=%x-%j.log

set -euo pipefail

srun --cpus-per-task="$SLURM_CPUS_PER_TASK" csc train "${EXPERIMENT:-train_3D.py}" \
    --set devices="$SLURM_NTASKS_PER_NODE" \
    --set num_nodes="$SLURM_JOB_NUM_NODES" \
    --set num_workers="$SLURM_CPUS_PER_TASK"
