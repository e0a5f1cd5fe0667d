"""Units of the numbers inside readers, in cgs, as astropy has them: solar masses of others differ by 3e-6."""

from astropy import units as u

__all__ = ["KMS", "MSUN", "MYR", "PC", "YEAR"]

PC = u.pc.to(u.cm)
MSUN = u.solMass.to(u.g)
KMS = 1e5
MYR = u.Myr.to(u.s)
YEAR = u.yr.to(u.s)
