"""The oracle of fits_astropy.rs: writes files for our reader and checks files of our writer, by astropy.

    astropy_oracle.py make FOLDER     FITS files, their pixels as raw little-endian float64, and two tables:
                                      images.tsv (file, hdu, height, width, compressed) and keywords.tsv
    astropy_oracle.py check FOLDER    written.fits against images.tsv (hdu, height, width, dtype, dump) and keywords.tsv

Lines of keywords.tsv: file, hdu, keyword, kind (str, float, int, bool, undefined), value.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits

warnings.simplefilter("error")


def raw_arrays(rng):
    """Stored values of every BITPIX, with both ends of each range."""
    for dtype in ("u1", "i2", "i4", "i8"):
        info = np.iinfo(dtype)
        raw = rng.integers(info.min, info.max, (7, 11), dtype=dtype, endpoint=True)
        raw[0, :4] = info.min, info.max, 0, 1
        yield dtype, raw
    for dtype in ("f4", "f8"):
        raw = (rng.normal(size=(7, 11)) * 10.0 ** rng.integers(-6, 7, (7, 11))).astype(dtype)
        raw[0, :5] = np.nan, np.inf, -np.inf, np.finfo(dtype).max, np.finfo(dtype).tiny
        yield dtype, raw


def make(folder):
    rng = np.random.default_rng(20240501)
    images, keywords = [], []

    def expect(name, hdu, pixels, compressed=False):
        pixels.astype("<f8").tofile(folder / f"{name}.{hdu}.f64")
        images.append((name, hdu, *pixels.shape, int(compressed)))

    for dtype, raw in raw_arrays(rng):
        for label, scale, zero, blank in (("plain", 1, 0, None), ("scaled", 0.1, -3.75, None), ("blank", 2.5, 1e3, 1)):
            if blank is not None and raw.dtype.kind == "f":
                continue
            name = f"{dtype}_{label}.fits" + (".gz" if label == "scaled" else "")
            hdu = fits.PrimaryHDU(raw)
            if label != "plain":
                hdu.header["BSCALE"], hdu.header["BZERO"] = scale, zero
            if blank is not None:
                hdu.header["BLANK"] = blank
            hdu.writeto(folder / name)
            with fits.open(folder / name, do_not_scale_image_data=True) as opened:
                np.testing.assert_array_equal(opened[0].data, raw)
            with np.errstate(all="ignore"):
                expected = raw.astype("f8") if label == "plain" else raw.astype("f8") * scale + zero
            if blank is not None:
                expected[raw == blank] = np.nan
            expect(name, 0, expected)

    # Types that FITS stores with an offset.
    for dtype in ("i1", "u2", "u4", "u8"):
        info = np.iinfo(dtype)
        data = rng.integers(info.min, info.max, (5, 6), dtype=dtype, endpoint=True)
        data[0, :2] = info.min, info.max
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data, name="mask")]).writeto(folder / f"{dtype}.fits")
        # Rounded once, to 64-bit floats.
        expect(f"{dtype}.fits", 1, data)

    header = fits.Header()
    values = {
        "OBJECT": "O'Neill / 1",
        "LONGTEXT": "a long string, it's more than one card can hold; " * 5 + "end",
        "EXPTIME": 1.5e-7,
        "BIG": 123456789012345678,
        "FLAG": True,
        "ESO DET CHIP1 NAME": "CCD-44",
        "MP_DETECTED_NEGATIVE": 6,
    }
    for keyword, value in values.items():
        header[f"HIERARCH {keyword}" if len(keyword) > 8 else keyword] = (value, "comment")
        keywords.append(("cards.fits", 0, keyword, type(value).__name__, value))
    header["NOTHING"] = None
    keywords.append(("cards.fits", 0, "NOTHING", "undefined", ""))
    header["HISTORY"] = "not a value"
    fits.PrimaryHDU(np.zeros((1, 2), "f4"), header).writeto(folder / "cards.fits")
    expect("cards.fits", 0, np.zeros((1, 2)))

    sky = rng.normal(100, 5, (60, 70)).astype("f4")
    holes = sky.copy()
    holes[3, 4:9], holes[10, :] = np.nan, 0
    counts = rng.poisson(30000, (60, 70)).astype("u2")
    compressed = {
        "rice_u2": (counts, {"compression_type": "RICE_1"}),
        "rice_i2": ((counts % 900).astype("i2") - 100, {"compression_type": "RICE_1", "tile_shape": (16, 32)}),
        "rice_u1": ((counts % 200).astype("u1"), {"compression_type": "RICE_1"}),
        "gzip_i4": (counts.astype("i4") * 1000, {"compression_type": "GZIP_1"}),
        "gzip2_u2": (counts, {"compression_type": "GZIP_2"}),
        "hcompress_i2": ((counts % 900).astype("i2"), {"compression_type": "HCOMPRESS_1"}),
        "plio_i4": ((counts % 2).astype("i4"), {"compression_type": "PLIO_1"}),
        "gzip_f4": (holes, {"compression_type": "GZIP_2", "quantize_level": 0}),
        "gzip_f8": (holes.astype("f8") / 3, {"compression_type": "GZIP_1", "quantize_level": 0}),
        "rice_f4": (holes, {"compression_type": "RICE_1", "quantize_method": -1}),
        "dither1_f4": (holes, {"compression_type": "RICE_1", "quantize_method": 1, "dither_seed": 42}),
        "dither2_f4": (holes, {"compression_type": "RICE_1", "quantize_method": 2, "dither_seed": 7}),
        "dither1_gzip[1].f4": (sky, {"compression_type": "GZIP_1", "quantize_method": 1, "tile_shape": (20, 70)}),
    }
    for name, (data, options) in compressed.items():
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, **options)]).writeto(folder / f"{name}.fz")
        with fits.open(folder / f"{name}.fz") as opened:
            expect(f"{name}.fz", 1, opened[1].data, compressed=True)

    table(folder / "images.tsv", images)
    table(folder / "keywords.tsv", keywords)


def check(folder):
    with fits.open(folder / "written.fits", memmap=False) as hdus:
        hdus.verify("exception")
        for hdu, height, width, dtype, dump in rows(folder / "images.tsv"):
            data = hdus[int(hdu)].data
            assert data.dtype == np.dtype(f">{dtype}"), (hdu, data.dtype)
            expected = np.fromfile(folder / dump, "<f8").reshape(int(height), int(width))
            np.testing.assert_array_equal(data.astype("f8"), expected)
        for _, hdu, keyword, kind, value in rows(folder / "keywords.tsv"):
            header = hdus[int(hdu)].header
            if kind == "absent":
                assert keyword not in header, keyword
                continue
            found = header[keyword]
            if kind == "history":
                assert "\n".join(found) == value.replace("|", "\n"), (found, value)
            elif kind == "undefined":
                assert isinstance(found, fits.card.Undefined) or found is None, (keyword, found)
            else:
                expected = {"str": str, "float": float, "int": int, "bool": lambda text: text == "true"}[kind](value)
                assert found == expected and type(found) is type(expected), (keyword, found, expected)


def table(path, lines):
    path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines))


def rows(path):
    return [line.split("\t") for line in path.read_text().splitlines()]


if __name__ == "__main__":
    {"make": make, "check": check}[sys.argv[1]](Path(sys.argv[2]))
