#!/usr/bin/env bash
# Train on several machines, where torchrun starts the processes:
#
#     EXPERIMENT=train_3D.py sbatch train_nodes.sh
#
# srun starts torchrun once on each machine, and that a process for each GPU. What train.sh says of its time and of
# jobs in a row holds here, too; signals go to torchrun, which ends its processes with SIGTERM, and they save the run.
# Change partition, nodes, GPUs, memory and time. Tried with stand-ins for sbatch, srun and torchrun, not on a cluster.

#SBATCH --job-name=csc-train-nodes
#SBATCH --partition=gpu
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gres=gpu:4
#SBATCH --cpus-per-task=32
#SBATCH --mem=128G
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --output=%x-%j.log

set -euo pipefail

GPUS=${SLURM_GPUS_ON_NODE:-4}
mapfile -t HOSTS < <(scontrol show hostnames "$SLURM_JOB_NODELIST")

srun --cpus-per-task="$SLURM_CPUS_PER_TASK" torchrun \
    --nnodes="$SLURM_JOB_NUM_NODES" \
    --nproc_per_node="$GPUS" \
    --rdzv_id="$SLURM_JOB_ID" \
    --rdzv_backend=c10d \
    --rdzv_endpoint="${HOSTS[0]}:29500" \
    -m csc_cli train "${EXPERIMENT:-train_3D.py}" \
    --set devices="$GPUS" \
    --set num_nodes="$SLURM_JOB_NUM_NODES" \
    --set num_workers="$((SLURM_CPUS_PER_TASK / GPUS))"
