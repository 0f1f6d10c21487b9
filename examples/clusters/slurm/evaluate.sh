#!/usr/bin/env bash
# Score many submissions, in jobs that this job starts:
#
#     SUBMISSIONS=submissions.csv TRUTH=data/ground_truth.zarr sbatch evaluate.sh
#
# submissions.csv has the columns data_path and evaluation_id. Results lie beside each submission, the ranking in
# ranking.csv; with --resume nothing is scored twice if it is handed in again. It needs csc-eval[dask].
# One submission alone needs no cluster: csc evaluate -s submission.zip --workers 8.
#
# Change partitions (here and in --queue) and times. Tried with stand-ins for sbatch and csc, not on a cluster.

#SBATCH --job-name=csc-evaluate
#SBATCH --partition=cpu
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=8G
#SBATCH --time=12:00:00
#SBATCH --output=%x-%j.log

set -euo pipefail

csc batch-eval --csv "${SUBMISSIONS:-submissions.csv}" --truth-path "${TRUTH:-data/ground_truth.zarr}" \
    --cluster slurm --workers 16 --queue cpu --job-memory 16GB --walltime 02:00:00 --log-folder logs \
    --resume --table ranking.csv --report ranking.html
