#!/usr/bin/env python3
"""The tables of verdicts in ACCURACY.md: what `dia subtract` says of pairs that are right, spoilt, sparse or unrelated.

    benches/verdicts.py fields SEEDS           the simulated fields of ACCURACY.md, which are right
    benches/verdicts.py epochs REFERENCE TARGET … [-- OPTIONS]      real frames
    benches/verdicts.py spoilt PAIRS           pairs of 256² pixels, spoilt in kinds that take turns, by random strengths
    benches/verdicts.py sparse SEEDS           aligned fields of 1 to 5 stars per 100² pixels, dithered
    benches/verdicts.py unrelated PAIRS        pairs of different fields

The program is $DIA (target/release/dia). Needs numpy and astropy. P is *wrong* if it is off by more than 3 of its σ and by more than 2 %; *silent* is wrong with the verdict PASS.
KIND=name restricts `spoilt` to one kind, JOBS is how many run at once (2), ALL=1 prints every pair, and FROM:TO instead of a number runs that part.
"""
import collections, json, os, subprocess, sys, tempfile
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from astropy.io import fits

DIA = os.environ.get("DIA", "target/release/dia")
SIZE = 256
QUIET = ["--gain", "1.5", "--read-noise", "6", "--reference-depth", "20", "--reference-fwhm", "3.5", "--target-fwhm", "5", "--scale", "0.8", "--variables", "0", "--transients", "0",
         "--cosmic-rays", "0", "--bad-columns", "0", "--dx", "0.3", "--dy", "-0.2"]
FIELDS = {
    "256², no star above 10⁵ ADU": ["--size", "256", "--flux-max", "1e5"], "256²": ["--size", "256"], "512²": ["--size", "512"],
    "512², 60 cosmic rays, 3 bad columns, saturation at 40000": ["--size", "512", "--cosmic-rays", "60", "--bad-columns", "3", "--saturation", "40000"],
    "512², 20 variables, 10 transients": ["--size", "512", "--variables", "20", "--transients", "10"], "512², the brightest star varies": ["--size", "512", "--brightest-varies"],
    "512², 200 stars per 100² px": ["--size", "512", "--density", "200"], "512², Gaussian PSFs": ["--size", "512", "--psf", "gaussian"],
    "512², reference as noisy as the target": ["--size", "512", "--reference-depth", "1"], "1024²": ["--size", "1024"],
    "1024², PSF gradient 12 %, quadratic sky": ["--size", "1024", "--psf-gradient-x", "0.12", "--psf-gradient-y", "0.12", "--sky-curvature", "100"],
}


def simulate(folder, seed, *options):
    """The pair in `folder`: (reference, target) as arrays of doubles, and the truth."""
    given, rest = {}, [str(option) for option in options]
    while rest:     # The last of an option counts.
        option = rest.pop(0)
        given[option] = [] if option == "--brightest-varies" else [rest.pop(0)]
    options = ["=".join([option, *value]) for option, value in given.items()]
    subprocess.run([DIA, "simulate", "-o", folder, "--seed", str(seed), *options], check=True, capture_output=True)
    with open(os.path.join(folder, "truth.json")) as text:
        truth = json.load(text)
    return [fits.getdata(os.path.join(folder, name)).astype(float) for name in ("reference.fits", "target.fits")], truth


def subtract(folder, *options, reference="reference.fits", target="target.fits"):
    """(level, codes or message, P, σ); P is None without a result, and the level then `refused`."""
    report = os.path.join(folder, "report.json")
    command = [DIA, "subtract", os.path.join(folder, reference), os.path.join(folder, target), "-o", os.path.join(folder, "difference.fits"), "--report", report,
               "-q", "--threads", "1", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if not os.path.exists(report):
        return "refused", done.stderr.strip().split("\n")[-1][:150], None, None
    with open(report) as text:
        report = json.load(text)
    verdict, scale = report["verdict"], report["photometric_scale"]
    return verdict["level"], " ".join(r["code"] for r in verdict["reasons"]), scale["value"], scale["sigma"]


def is_wrong(p, sigma, truth):
    return abs(p - truth) > max(3*sigma, 0.02*truth)


class Pair:
    """A simulated pair that a kind of damage works on: images r and t, headers, P, and options of the command."""
    def __init__(self, folder, seed):
        self.rng = np.random.default_rng(seed)
        u = self.rng.uniform
        self.p = float(u(0.7, 1.3))
        r, t = u(2.6, 4.0, 2)
        self.simulated = ["--size", SIZE, "--density", u(10, 60), "--gain", 1.5, "--read-noise", 6, "--reference-depth", 10, "--reference-fwhm", min(r, t), "--target-fwhm", max(r, t) + 0.2,
                          "--scale", self.p, "--sky", u(200, 1000), "--variables", 0, "--transients", 0, "--cosmic-rays", 0, "--bad-columns", 0, "--flux-max", 3e5]
        self.folder, self.seed, self.options = folder, seed, []
        self.gain, self.noise = {"r": 15.0, "t": 1.5}, {"r": 6/10**0.5*10, "t": 6.0}
        self.header = {"r": {}, "t": {}}

    def make(self, *more):
        (self.r, self.t), self.truth = simulate(self.folder, self.seed, *self.simulated, *more)
        for key, name in (("r", "reference.fits"), ("t", "target.fits")):
            header = fits.getheader(os.path.join(self.folder, name))
            self.header[key] = {k: header[k] for k in ("GAIN", "RDNOISE")}
        return self

    def write(self):
        for key, name in (("r", "reference.fits"), ("t", "target.fits")):
            hdu = fits.PrimaryHDU(getattr(self, key).astype(np.float32))
            hdu.header.update(self.header[key])
            hdu.writeto(os.path.join(self.folder, name), overwrite=True)

    def strength(self, low, high):
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def either(self):
        return "rt"[self.rng.integers(2)]

    def grid(self):
        return np.mgrid[:SIZE, :SIZE].astype(float)


def rotated(image, angle):
    """By three shears (Unser et al. 1995, IEEE Trans. Image Proc. 4, 1371), each a shift of rows or columns by Fourier phases; the border wraps."""
    def shear(a, factor):
        shift = factor*(np.arange(a.shape[0]) - (a.shape[0] - 1)/2)
        return np.fft.irfft(np.fft.rfft(a, axis=1)*np.exp(-2j*np.pi*shift[:, None]*np.fft.rfftfreq(a.shape[1])), a.shape[1], axis=1)
    a, b, sky = -np.tan(angle/2), np.sin(angle), np.median(image)
    return shear(shear(shear(image - sky, a).T, b).T, a) + sky


def disc(p, radius):
    y, x = p.grid()
    cy, cx = p.rng.uniform(0, SIZE, 2)
    return np.hypot(y - cy, x - cx), radius


def gain(p): k = p.either(); p.make(); p.header[k]["GAIN"] *= p.strength(0.05, 20)
def read_noise(p): k = p.either(); p.make(); p.header[k]["RDNOISE"] *= p.strength(3, 100)
def subtracted(p): p.make(); p.r -= np.median(p.r); p.t -= np.median(p.t)
def pedestal(p): p.make(); k = p.either(); setattr(p, k, getattr(p, k) + p.strength(100, 5000))
def unit_interval(p): p.make(); f = 1/65535; p.r *= f; p.t *= f
def electrons(p):
    p.make(); f = p.strength(1.3, 8); p.t *= f; p.p *= f
    if p.rng.integers(2): p.header["t"]["BUNIT"] = "electron"
def nonlinear(p): p.make(); a = p.strength(1e-7, 1e-5); k = p.either(); v = getattr(p, k); setattr(p, k, v/(1 + a*np.maximum(v, 0)))
def stretched(p): p.make(); b = p.strength(100, 5000); k = p.either(); v = getattr(p, k); setattr(p, k, b*np.arcsinh(v/b))
def hot(p): p.make(); k = p.either(); v = getattr(p, k); m = p.rng.random(v.shape) < p.strength(1e-4, 5e-3); v[m] += p.rng.exponential(p.strength(100, 20000), m.sum())
def cosmic(p): p.make("--cosmic-rays", int(p.strength(20, 400)))
def dark_corner(p):
    p.make(); y, x = p.grid(); k = p.either(); v = getattr(p, k)
    r = np.hypot(y - SIZE/2, x - SIZE/2); edge = p.rng.uniform(0.4, 0.65)*SIZE; width = p.strength(1, 15)
    dark = p.rng.uniform(0, 0.3); v *= dark + (1 - dark)/(1 + np.exp(np.clip((r - edge)/width, -50, 50)))
def vignetting(p):
    p.make(); y, x = p.grid(); k = p.either(); v = getattr(p, k); r2 = ((y - SIZE/2)**2 + (x - SIZE/2)**2)/(SIZE/2)**2
    v -= p.rng.uniform(0.02, 0.25)*r2/2*np.median(v)
def zeros(p): p.make(); k = p.either(); v = getattr(p, k); n = int(p.strength(2, 80)); v[:, :n] = p.rng.choice([0, -1, np.median(v)])
def sentinels(p): p.make(); k = p.either(); v = getattr(p, k); m = p.rng.random(v.shape) < p.strength(1e-4, 0.05); v[m] = p.rng.choice([-1e30, -999, -32768, 1e20, 0])
def trail(p):
    p.make(); y, x = p.grid(); k = p.either(); v = getattr(p, k); a = p.rng.uniform(0, np.pi); c = p.rng.uniform(-60, 60); w = p.strength(1, 6)
    v += p.strength(100, 30000)*np.exp(-0.5*(((y - SIZE/2)*np.cos(a) + (x - SIZE/2)*np.sin(a) - c)/w)**2)
def clipped(p): p.make(); k = p.either(); v = getattr(p, k); level = np.median(v) + p.strength(0.02, 0.8)*(v.max() - np.median(v)); setattr(p, k, np.minimum(v, level))
def sharper(p): f = p.strength(1.05, 1.6); i = p.simulated.index("--target-fwhm"); j = p.simulated.index("--reference-fwhm"); p.simulated[j + 1] = p.simulated[i + 1]*f; p.make()
def rotation(p): p.make(); p.t = rotated(p.t, np.radians(p.strength(0.05, 3)))
def resampled(p):
    p.make(); k = p.either(); v = getattr(p, k); f = p.rng.uniform(0.2, 0.8, 2)
    for axis in (0, 1): v = (1 - f[axis])*v + f[axis]*np.roll(v, 1, axis)
    setattr(p, k, v)
def gradient(p): p.make("--sky-gradient-x", p.strength(10, 3000), "--sky-gradient-y", p.strength(10, 1000), "--sky-curvature", p.strength(1, 300))
def ghost(p): p.make(); k = p.either(); r, edge = disc(p, p.strength(10, 80)); setattr(p, k, getattr(p, k) + p.strength(10, 1000)/(1 + np.exp(np.clip((r - edge)/2, -50, 50))))
def galaxy(p): p.make(); k = p.either(); r, size = disc(p, p.strength(3, 30)); setattr(p, k, getattr(p, k) + p.strength(100, 30000)*np.exp(-r/size))
def amplifier_level(p): p.make(); k = p.either(); getattr(p, k)[:, SIZE//2:] += p.strength(3, 500)
def variables(p): n = int(p.truth_stars()*p.rng.uniform(0.05, 0.7)); p.make("--variables", n)
def brightest(p): p.make("--brightest-varies")
def columns(p): p.make(); k = p.either(); v = getattr(p, k); c = p.rng.choice(SIZE, int(p.strength(1, 30)), replace=False); v[:, c] += p.rng.normal(0, p.strength(50, 5000), len(c))
def dithered(p): p.simulated += ["--dx", p.rng.uniform(-20, 20), "--dy", p.rng.uniform(-20, 20)]; p.make()
def doubled(p): p.make(); d = p.rng.integers(2, 12); f = p.rng.uniform(0.1, 0.5); p.t = (1 - f)*p.t + f*np.roll(p.t, d, 1)
def trailed(p): p.make(); n = int(p.rng.integers(3, 15)); p.t = sum(np.roll(p.t, i, 1) for i in range(n))/n
def wrapped(p): p.make(); v = p.t; v[v > 32767] -= 65536
def unrelated(p): p.make(); (_, p.t), _ = simulate(p.folder, p.seed + 100_000, *p.simulated)
def smoothed(p): p.make(); k = p.either(); v = getattr(p, k); setattr(p, k, sum(np.roll(v, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1))/9)
def cloud(p): p.make(); y, x = p.grid(); c = 1 - p.rng.uniform(0.05, 0.5)/(1 + np.exp((x - SIZE/2)/p.strength(3, 30))); s = np.median(p.t); p.t = s + c*(p.t - s); p.p *= float(np.mean(c))
def flipped(p): p.make(); p.t = p.t[::-1, ::p.rng.choice([1, -1])]


KINDS = [gain, read_noise, subtracted, pedestal, unit_interval, electrons, nonlinear, stretched, hot, cosmic, dark_corner, vignetting, zeros, sentinels, trail, clipped, sharper, rotation,
         resampled, gradient, ghost, galaxy, amplifier_level, variables, brightest, columns, dithered, doubled, trailed, wrapped, unrelated, smoothed, cloud, flipped]
Pair.truth_stars = lambda p: p.simulated[p.simulated.index("--density") + 1]*(SIZE/100)**2


def spoilt(n):
    kind = KINDS[n % len(KINDS)]
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(folder, 1000 + n)
        kind(pair)
        pair.write()
        return kind.__name__, n, pair.p, *subtract(folder, *pair.options)


def fields(name, seed):
    with tempfile.TemporaryDirectory() as folder:
        _, truth = simulate(folder, seed, *QUIET, *FIELDS[name])
        more = ["--background-degree", "2"] if "quadratic" in name else []
        return name, seed, 0.8, *subtract(folder, *more)


def sparse(seed):
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, part = rng.integers(-20, 21, 2), rng.uniform(-0.5, 0.5, 2)
        if seed % 2: part = np.zeros(2)
        dx, dy = whole + part
        size = 400
        simulate(folder, seed, "--size", size, "--density", 1 + seed % 5, "--gain", 1.5, "--read-noise", 5, "--reference-depth", 8, "--reference-fwhm", 2.6, "--target-fwhm", 3.6, "--scale", 1,
                 "--variables", 0, "--transients", 0, "--cosmic-rays", 0, "--bad-columns", 0, "--dx", dx, "--dy", dy)
        return f"{1 + seed % 5} stars, {'whole' if seed % 2 else 'part'} pixels", seed, 1.0, *subtract(folder)


def unrelated_pair(seed):
    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        rng = np.random.default_rng(seed)
        options = ["--size", 400, "--density", float(np.exp(rng.uniform(0, np.log(60)))), "--variables", 0]
        simulate(a, seed, *options)
        simulate(b, seed + 5000, *options)
        return "unrelated", seed, 1.0, *subtract(a, target=os.path.join(b, "target.fits"))


def epoch(reference, target, options):
    with tempfile.TemporaryDirectory() as folder:
        return os.path.basename(target).split(".")[0], 0, float("nan"), *subtract(folder, *options, reference=os.path.abspath(reference), target=os.path.abspath(target))


def main():
    table, arguments = sys.argv[1], sys.argv[2:]
    count = lambda: range(*map(int, arguments[0].split(":")))
    if table == "fields":
        jobs = [(fields, (name, seed + 1)) for name in FIELDS for seed in count()]
    elif table == "spoilt":
        jobs = [(spoilt, (n,)) for n in count() if os.environ.get("KIND", KINDS[n % len(KINDS)].__name__) == KINDS[n % len(KINDS)].__name__]
    elif table == "sparse":
        jobs = [(sparse, (seed,)) for seed in count()]
    elif table == "unrelated":
        jobs = [(unrelated_pair, (seed,)) for seed in count()]
    else:
        cut = arguments.index("--") if "--" in arguments else len(arguments)
        (reference, *targets), options = arguments[:cut], arguments[cut + 1:]
        jobs = [(epoch, (reference, target, options)) for target in targets]
    rows = collections.OrderedDict()
    with ThreadPoolExecutor(int(os.environ.get("JOBS", 2))) as pool:
        for kind, n, truth, level, words, p, sigma in pool.map(lambda job: job[0](*job[1]), jobs):
            wrong = p is not None and is_wrong(p, sigma, truth)
            row = rows.setdefault(kind, collections.Counter())
            row[level] += 1
            row["wrong"] += wrong
            row["silent"] += wrong and level == "pass"
            if level != "pass" or wrong or os.environ.get("ALL"):
                scale = f"{p:.4f} ± {sigma:.4f} ({truth:.4f})" if p is not None else ""
                print(f"{kind} {n}: {level}{' WRONG' if wrong else ''} {scale} {words}", file=sys.stderr, flush=True)
    columns = ["pass", "warn", "fail", "refused", "wrong", "silent"]
    print("| kind | pairs | " + " | ".join(columns) + " |\n" + "|---"*(len(columns) + 2) + "|")
    rows["all"] = sum(rows.values(), collections.Counter())
    for kind, row in rows.items():
        print(f"| {kind} | {sum(row[level] for level in columns[:4])} | " + " | ".join(str(row[c]) for c in columns) + " |")


if __name__ == "__main__":
    main()
