#!/usr/bin/env python3
"""The tables of real frames in ACCURACY.md: subtracts and prints one row per target and setting.

    benches/real.py settings REFERENCE TARGET … [-- OPTIONS]    every setting of SETTINGS
    benches/real.py epochs REFERENCE TARGET … [-- OPTIONS]      the defaults

OPTIONS go to `dia subtract`, whose program is $DIA (target/release/dia). Needs numpy and astropy.
"bright" is the robust standard deviation of the normalised residuals where the model is more than 2000 ADU above its sky.
"""
import itertools, json, os, subprocess, sys, tempfile
import numpy as np
from astropy.io import fits

DIA = os.environ.get("DIA", "target/release/dia")
DEGREES = [(0, 0), (1, 0), (2, 0), (3, 0), (1, 1), (2, 2), (3, 3)]     # of kernel and scale
SETTINGS = [["--basis", basis, "--background-degree", str(background), "--kernel-degree", str(kernel), "--scale-degree", str(scale)]
            for basis, background, (kernel, scale) in itertools.product(["mixed", "delta"], [0, 1], DEGREES)]

def robust_std(z):
    return 1.4826*np.median(np.abs(z - np.median(z)))

def subtract(reference, target, options):
    """The report and the robust standard deviation at bright pixels, or what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        out, report = os.path.join(folder, "d.fits"), os.path.join(folder, "r.json")
        done = subprocess.run([DIA, "subtract", reference, target, "-o", out, "--report", report, "-q", *options], capture_output=True, text=True)
        if done.returncode:
            return None, done.stderr.strip().replace("\n", " ")
        with fits.open(out) as planes, open(report) as text:
            difference, variance, model, mask = planes[0].data, *(planes[name].data for name in ("VARIANCE", "MODEL", "MASK"))
            report = json.load(text)
    sky = report["background"]["coefficients"][0]["value"]
    bright = np.isfinite(difference) & (mask == 0) & (model > sky + 2000)
    return report, (robust_std(difference[bright]/np.sqrt(variance[bright])) if bright.any() else np.nan)

def row(target, setting, report, bright):
    r, k, o = report["residuals"], report["kernel"], report["offset"]
    p, variables, seeing = report["photometric_scale"], report["variables"], report["seeing"]
    return [os.path.basename(target).split(".")[0][-4:], *setting, f"({o['dx']}, {o['dy']})", f"{seeing['target_fwhm']:.2f}" if seeing else "–", report["half_width"],
            k["coefficients"], f"{p['value']:.4f} ± {p['sigma']:.4f}", f"{r['mfb']:+.3f}", f"{r['mfv']:.3f}", f"{r['robust_std']:.3f}", f"{bright:.2f}",
            f"{100*variables['fraction']:.1f}" if variables else "–", f"{report['regularisation']['lambda']:.2g}", report["solver"]["products"]]

def main():
    table, arguments = sys.argv[1], sys.argv[2:]
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    (reference, *targets), options = arguments[:cut], arguments[cut+1:]
    settings = SETTINGS if table == "settings" else [[]]
    names = ["basis", "background", "kernel degree", "scale degree"] if table == "settings" else []
    head = ["target", *names, "offset", "FWHM", "half-width", "unknowns", "P", "mean", "MFV", "robust std", "bright", "masked / %", "λ", "products"]
    print("| " + " | ".join(head) + " |\n" + "|---"*len(head) + "|", flush=True)
    inside = []
    for target, setting in itertools.product(targets, settings):
        report, bright = subtract(reference, target, setting + options)
        cells = row(target, setting[1::2], report, bright) if report else [os.path.basename(target), *setting[1::2], bright]
        inside += [0.9 <= report["residuals"]["mfv"] <= 1.3] if report else [False]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    print(f"\n{sum(inside)} of {len(inside)} with an MFV from 0.9 to 1.3")

if __name__ == "__main__":
    main()
