"""Estimate masses and segments of the bundled example field, and plot them."""

from astropy.table import QTable

from stellarfm import GasMaps, StellarModel
from stellarfm.data import EXAMPLE_FIELD
from stellarfm.inference import write_masses
from stellarfm.plotting import overview

maps = GasMaps.read(EXAMPLE_FIELD)
stars = QTable.read(EXAMPLE_FIELD, hdu="STARS")

model = StellarModel.load()  # the bundled model; pass a directory for another one
masses = model.estimate(maps, sources=stars)
print(masses["star", "mass", "mass_lower_68", "mass_upper_68", "flags"])

segments = model.segment(maps, segments=6)
print(segments.segments)

write_masses(masses, "masses.fits")
segments.write("segments.fits")
overview(maps, segments, masses, truth=stars["mass"]).savefig("overview.png", dpi=150)
