"""Units in cgs, from astropy's constants; other packages' solar masses differ by 3e-6."""

from astropy import units as u

__all__ = ["KMS", "MSUN", "MYR", "PC", "YEAR"]

PC = u.pc.to(u.cm)
MSUN = u.solMass.to(u.g)
KMS = 1e5
MYR = u.Myr.to(u.s)
YEAR = u.yr.to(u.s)
