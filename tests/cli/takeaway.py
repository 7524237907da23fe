"""Opens what `export` and `maps` wrote with astropy, beside the cube that it was made of; prints `ok`."""

import sys
import warnings

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

warnings.simplefilter("ignore")
cube_path, out = sys.argv[1:3]
with fits.open(cube_path) as hdus:
    header = hdus[0].header
    data = hdus[0].data.squeeze().astype(np.float32)


def spectral_last(header, shape):
    """World coordinates of a few pixels: the two celestial ones and the spectral one, by the header."""
    wcs = WCS(header)
    naxis = wcs.naxis
    places = [(0, 0, 0), (shape[2] - 1, 0, 5), (1, shape[1] - 1, shape[0] - 1)]
    pixels = np.zeros((len(places), naxis))
    pixels[:, :3] = places
    return wcs.all_pix2world(pixels, 0)[:, :3]


known = spectral_last(header, data.shape)
cubes = {}
for name in ["model", "residual"]:
    with fits.open(f"{out}/export/fits/{name}.fits") as hdus:
        hdus.verify("exception")
        made = hdus[0].header
        assert made["BUNIT"] == header["BUNIT"], made["BUNIT"]
        for keyword in ["SPECSYS", "RESTFREQ", "RESTFRQ", "OBJECT", "EQUINOX", "RADESYS"]:
            assert made.get(keyword) == header.get(keyword), keyword
        found = spectral_last(made, data.shape)
        assert np.allclose(found, known, rtol=1e-13, atol=1e-10), (found, known)
        cubes[name] = hdus[0].data.astype(np.float32)
        assert cubes[name].shape == data.shape
blank = ~np.isfinite(data).any(axis=0)
assert np.isnan(cubes["model"][:, blank]).all() and np.isfinite(cubes["model"][:, ~blank]).all()
assert np.array_equal(cubes["residual"], data - cubes["model"], equal_nan=True)

table = Table.read(f"{out}/export/fits/catalogue.fits")
csv = Table.read(f"{out}/fit/table/catalogue.csv", format="ascii.csv")
assert len(table) == len(csv) > 0
for name in csv.colnames:
    if name != "flags":
        assert name in table.colnames, name
        assert np.array_equal(np.asarray(table[name], float), np.asarray(csv[name], float)), name
unit, axis_unit = header["BUNIT"], "m/s"
raw = fits.open(f"{out}/export/fits/catalogue.fits")[1]
units = {column.name: column.unit for column in raw.columns}
for name in ["amplitude", "amplitude_err", "noise_rms"]:
    assert units[name] == unit, (name, units[name])
for name in ["mean", "mean_err", "sigma", "sigma_err", "fwhm"]:
    assert units[name] == axis_unit, (name, units[name])
assert np.allclose(table["fwhm"], np.sqrt(8 * np.log(2)) * table["sigma"])
# The names in the CSV are the bits in the FITS table, and the header tells which is which.
bits = dict(reversed(pair.split()) for n in (1, 2) for pair in raw.header[f"FLAGS{n}"].split(", "))
for names, flags in zip(np.ma.filled(csv["flags"].astype(str), ""), table["flags"]):
    named = [name for name in names.split() if name != "--"]
    assert sum(int(bits[name]) for name in named) == flags, (names, flags)
# The model is the sum of the catalogue's components.
channels = np.arange(data.shape[0])[:, None]
for x, y in {(int(row["x"]), int(row["y"])) for row in table}:
    of = table[(table["x"] == x) & (table["y"] == y)]
    z = (channels - np.asarray(of["mean_channel"])) / np.asarray(of["sigma_channel"])
    summed = (np.asarray(of["amplitude"]) * np.exp(-0.5 * z**2)).sum(axis=1)
    assert np.allclose(cubes["model"][:, y, x], summed, rtol=1e-6, atol=1e-7 * summed.max())
# Where the sky is known: the columns, and the world coordinates of the columns x and y.
celestial = WCS(header).celestial
expected = celestial.all_pix2world(np.stack([table["x"], table["y"]], axis=1).astype(float), 0)
longitude, latitude = table.colnames[3:5]
assert np.allclose(np.asarray(table[longitude]), expected[:, 0], rtol=0, atol=1e-9), longitude
assert np.allclose(np.asarray(table[latitude]), expected[:, 1], rtol=0, atol=1e-9), latitude
listed = WCS(raw.header, keysel=["pixel"], colsel=[2, 3])
places = np.stack([table["x"], table["y"]], axis=1).astype(float)
# The reference pixel of a pixel list is in the units of the column, which counts from 0.
assert np.allclose(listed.wcs_pix2world(places, 1), expected, rtol=0, atol=1e-9)

names = ["intensity", "centroid", "width", "count", "noise_rms", "reduced_chi_squared"]
maps = {}
for name in names:
    with fits.open(f"{out}/maps/fits/{name}.fits") as hdus:
        hdus.verify("exception")
        maps[name] = hdus[0].data
        found = WCS(hdus[0].header).all_pix2world([[0, 0], [3, 2]], 0)
        assert np.allclose(found, celestial.all_pix2world([[0, 0], [3, 2]], 0), rtol=0, atol=1e-10)
        assert maps[name].shape == data.shape[1:]
        assert np.isnan(maps[name][blank]).all(), name
count = np.zeros(data.shape[1:])
np.add.at(count, (table["y"], table["x"]), 1)
assert np.array_equal(maps["count"][~blank], count[~blank])
area = np.zeros(count.shape)
np.add.at(area, (table["y"], table["x"]), table["amplitude"] * table["sigma"] * np.sqrt(2 * np.pi))
assert np.allclose(maps["intensity"][~blank], area[~blank], rtol=1e-6)
assert np.array_equal(np.isfinite(maps["centroid"]), ~blank & (count > 0))
for row in table:
    at = int(row["y"]), int(row["x"])
    assert np.float32(row["noise_rms"]) == maps["noise_rms"][at]
    assert np.float32(row["reduced_chi_squared"]) == maps["reduced_chi_squared"][at]
    if count[at] == 1:
        assert np.isclose(maps["centroid"][at], row["mean"], rtol=1e-6)
        assert np.isclose(maps["width"][at], row["sigma"], rtol=1e-6)
print("ok")
