#!/bin/bash
#SBATCH --job-name=night --array=1-8 --cpus-per-task=1 --mem=2G --time=01:00:00 --requeue
# A night of images as a job array of Slurm, every eighth frame in each job:
#
#     job=$(sbatch --parsable night_slurm.sh reference.fits 'night/*.fits' results)
#     sbatch --dependency="afterany:$job" night_slurm.sh reference.fits 'night/*.fits' results all
#
# The second line makes light curves, tables and the page of what the first has done. A job that is
# sent again goes on where it was.
set -euo pipefail
reference=$1 targets=$2 output=$3 shard=()
if [ "${4:-}" != all ]; then
    shard=(--shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT")
fi
srun dia night --reference "$reference" --targets "$targets" -o "$output" \
    --threads "$SLURM_CPUS_PER_TASK" --quiet "${shard[@]}"
