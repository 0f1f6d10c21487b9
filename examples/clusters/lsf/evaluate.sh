#!/usr/bin/env bash
# Score many submissions, in jobs that this job starts:
#
#     SUBMISSIONS=submissions.csv TRUTH=data/ground_truth.zarr bsub < evaluate.sh
#
# submissions.csv has the columns data_path and evaluation_id. Results lie beside each submission, the ranking in
# ranking.csv; with --resume nothing is scored twice if it is handed in again. It needs csc-eval[dask].
# One submission alone needs no cluster: csc evaluate -s submission.zip --workers 8.
#
# Change queues (here and in --queue), project (-P and --account) and times.
# Tried with stand-ins for bsub and csc, not on a cluster.

#BSUB -J csc-evaluate
#BSUB -q normal
#BSUB -n 1
#BSUB -R "rusage[mem=8GB]"
#BSUB -W 12:00
#BSUB -o csc-evaluate-%J.log

set -euo pipefail

csc batch-eval --csv "${SUBMISSIONS:-submissions.csv}" --truth-path "${TRUTH:-data/ground_truth.zarr}" \
    --cluster lsf --workers 16 --queue normal --job-memory 16GB --walltime 02:00 --log-folder logs \
    --resume --table ranking.csv --report ranking.html
