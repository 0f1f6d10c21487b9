#!/usr/bin/env bash
# Train on several machines, where torchrun starts the processes:
#
#     EXPERIMENT=train_3D.py bsub < train_nodes.sh
#
# blaunch starts torchrun once on each machine, and that a process for each GPU. What train.sh says of its time and of
# jobs in a row holds here, too; signals go to torchrun, which ends its processes with SIGTERM, and they save the run.
# Change queue, project (-P), slots, GPUs and time: 64 slots, 32 on each machine, are two machines.
# Tried with stand-ins for bsub, blaunch and torchrun, not on a cluster.

#BSUB -J csc-train-nodes
#BSUB -q gpu
#BSUB -n 64
#BSUB -R "span[ptile=32] rusage[mem=128GB]"
#BSUB -gpu "num=4"
#BSUB -W 24:00
#BSUB -wa TERM
#BSUB -wt 2
#BSUB -o csc-train-nodes-%J.log

set -euo pipefail

GPUS=${GPUS:-4}  # of one machine, as many as -gpu says
# LSB_MCPU_HOSTS is "host slots host slots ..."
read -ra WORDS <<<"$LSB_MCPU_HOSTS"
HOSTS=()
for ((i = 0; i < ${#WORDS[@]}; i += 2)); do HOSTS+=("${WORDS[i]}"); done

exec blaunch -z "${HOSTS[*]}" torchrun \
    --nnodes="${#HOSTS[@]}" \
    --nproc_per_node="$GPUS" \
    --rdzv_id="$LSB_JOBID" \
    --rdzv_backend=c10d \
    --rdzv_endpoint="${HOSTS[0]}:29500" \
    -m csc_cli train "${EXPERIMENT:-train_3D.py}" \
    --set devices="$GPUS" \
    --set num_nodes="${#HOSTS[@]}" \
    --set num_workers="$((WORDS[1] / GPUS))"
