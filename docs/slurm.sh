#!/bin/bash
#SBATCH --job-name=conformance
#SBATCH --ntasks=16
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=3G
#SBATCH --time=01:00:00
# The environment in which refbp[conformance,torch,jax,cluster] is installed, on a path that all nodes share:
. "${VENV:-$HOME/venv}/bin/activate"
set -euo pipefail

port=$((20000 + SLURM_JOB_ID % 20000))
scheduler=tcp://$(hostname):$port
up=$(mktemp -d)/scheduler.json # written when it listens
dask scheduler --port "$port" --no-dashboard --scheduler-file "$up" &
trap 'kill $(jobs -p) 2>/dev/null' EXIT
until [ -s "$up" ]; do sleep 1; done
srun dask worker "$scheduler" --nthreads 1 --no-dashboard --local-directory "${TMPDIR:-/tmp}" &

conformance run --scheduler "$scheduler" --memory 2GiB --json results.json --report report.html --resume "$@"
