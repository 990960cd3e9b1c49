"""astroalign on the lists that `alignment PAIRS FOLDER` wrote: python3 astroalign_pairs.py FOLDER

It knows no mirror image; of a mirrored pair, the columns of the second list are reversed for it."""

import glob
import sys
import time

import astroalign
import numpy as np

tally, times = {}, []
for path in sorted(glob.glob(sys.argv[1] + "/*.txt")):
    lines = open(path).read().splitlines()
    head = lines[0].replace("[", "").replace("]", "").replace(",", "").split()
    truth, few, overlap = np.array(head[:6], float).reshape(2, 3), head[6] == "true", float(head[7])
    lists, at = [], 1
    for _ in range(3):
        n = int(lines[at])
        lists.append(np.array([line.split() for line in lines[at + 1:at + 1 + n]], float).reshape(n, 2))
        at += 1 + n
    common, first, second = lists
    group = "5 stars" if few else f"overlap {'20-40' if overlap <= 0.4 else '40-70' if overlap <= 0.7 else '70-100'} %"
    mirrored = np.linalg.det(truth[:, 1:]) < 0
    flip = np.array([-1.0, 1.0]) if mirrored else 1.0
    start = time.time()
    try:
        found = astroalign.find_transform(second * flip, first)[0]
        off = np.max(np.hypot(*(found(common * flip) - (truth[:, 0] + common @ truth[:, 1:].T)).T))
        what = "right" if off <= 1.5 else "wrong"
    except Exception:
        what = "refused"
    times.append(time.time() - start)
    tally.setdefault(group, {"right": 0, "wrong": 0, "refused": 0})[what] += 1
print("| pairs | right | wrong | refused |\n|---|---|---|---|")
for group, counts in sorted(tally.items()):
    print(f"| {group} | {counts['right']} | {counts['wrong']} | {counts['refused']} |")
print(f"time: median {1e3 * np.median(times):.0f} ms, 95 % {1e3 * np.quantile(times, 0.95):.0f} ms")
