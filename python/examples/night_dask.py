"""A night of images over the workers of Dask: a task for each frame; those of a worker that is lost are done by others.

    python night_dask.py reference.fits 'night/*.fits' results [ADDRESS OF THE SCHEDULER]
"""

import glob
import subprocess
import sys

from dask.distributed import Client, as_completed


def frame(index, night):
    """Subtracts one frame; 3 says that its verdict is fail, which another try does not change."""
    done = subprocess.run([*night, "--task-index", str(index), "--threads", "1", "--quiet"])
    if done.returncode not in (0, 3):
        raise RuntimeError(f"frame {index} ended with {done.returncode}")
    return done.returncode


if __name__ == "__main__":
    reference, targets, output, *scheduler = sys.argv[1:]
    night = ["dia", "night", "--reference", reference, "--targets", targets, "-o", output]
    # On one machine where there is no scheduler.
    with Client(*scheduler) if scheduler else Client(n_workers=4, threads_per_worker=1) as client:
        tasks = client.map(frame, range(len(glob.glob(targets))), night=night, retries=3)
        for number, task in enumerate(as_completed(tasks), 1):
            print(f"{number} of {len(tasks)} frames: {task.status}")
    # All frames are there: what is left are light curves, tables and the page.
    sys.exit(subprocess.run([*night, "--quiet"]).returncode)
