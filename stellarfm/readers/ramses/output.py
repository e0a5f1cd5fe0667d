"""Text files of a RAMSES output: parameters, boundary conditions and sinks (Teyssier 2002; output format of 2024)."""

from __future__ import annotations

import csv
import logging
import re
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from stellarfm.exceptions import InputNotFoundError, ReaderError
from stellarfm.readers.common.cgs import KMS, MSUN, MYR, PC, YEAR

__all__ = ["RamsesOutput", "is_ramses"]

logger = logging.getLogger("stellarfm")

#: Column of the table of stars -> column of the file, its dimensions in code units m, l, t, and its unit here in cgs.
_SINKS: dict[str, tuple[str, str, float, u.UnitBase]] = {
    "mass": ("msink", "m", MSUN, u.solMass),
    **{axis: (axis, "l", PC, u.pc) for axis in "xyz"},
    **{f"v{axis}": (f"v{axis}", "l t**-1", KMS, u.km / u.s) for axis in "xyz"},
    "accretion_rate": ("acc_rate", "m t**-1", MSUN / YEAR, u.solMass / u.yr),
}
_OPTIONAL = {"vx", "vy", "vz", "accretion_rate"}
_CODE_UNIT = re.compile(r"(m|l|t)(?:\*\*(-?\d+))?")


def is_ramses(path: Path) -> bool:
    """Return True if `path` is the directory of a RAMSES output, or its info file; never raises.

    Parameters
    ----------
    path : Path
        Path that may be absent or of another code.

    Examples
    --------
    >>> from pathlib import Path
    >>> from stellarfm.readers.ramses import is_ramses
    >>> is_ramses(Path("absent"))
    False
    """
    try:
        return len(_info_files(path)) == 1
    except OSError:
        return False


def _info_files(path: Path) -> list[Path]:
    """Return the info files of an output directory, or `path` if it is one."""
    if path.is_dir():
        return sorted(path.glob("info_?????.txt"))
    return [path] if re.fullmatch(r"info_\d{5}\.txt", path.name) and path.is_file() else []


@dataclass(frozen=True)
class RamsesOutput:
    """Text files of one output.

    Attributes
    ----------
    folder, info : Path
        Output directory, and its info file.
    parameters : dict of str to float
        Numbers in the info file, among them ``boxlen`` (code units), ``time`` (code units), ``aexp``, ``unit_l``,
        ``unit_d``, ``unit_t`` (cgs).
    """

    folder: Path
    info: Path
    parameters: dict[str, float]

    @classmethod
    def find(cls, path: Path) -> RamsesOutput:
        """Find the output at `path`, its directory or info file.

        Raises
        ------
        InputNotFoundError, ReaderError
            If there is no output, or its info file lacks units.
        """
        if not path.exists():
            raise InputNotFoundError(f"{path}: no such file; check the path")
        found = _info_files(path)
        if len(found) != 1:
            raise ReaderError(f"{path}: not a RAMSES output; expected a directory output_NNNNN with one info_NNNNN.txt")
        text = found[0].read_text(errors="replace")
        pairs = re.findall(r"^ *(\w+) *= *(\S+) *\r?\n", text, re.MULTILINE)  # whole lines: a truncated number is wrong
        parameters = {name: number for name, text in pairs if (number := _number(text)) is not None}
        needed = ("boxlen", "time", "unit_l", "unit_d", "unit_t")
        if missing := [name for name in needed if not np.isfinite(parameters.get(name, np.nan))]:
            raise ReaderError(f"{found[0]}: {', '.join(missing)} missing; the file is truncated or not from RAMSES")
        return cls(found[0].parent, found[0], parameters)

    @property
    def cosmological(self) -> bool:
        """True if the code units are comoving."""
        return self.parameters.get("aexp", 1.0) < 1 or self.parameters.get("H0", 1.0) != 1

    @property
    def periodic(self) -> tuple[bool, bool, bool]:
        """Axes without a boundary region in the namelist; all, if there is no namelist."""
        boundaries = _boundary_params(self.folder / "namelist.txt")
        return tuple(not _has_boundary(boundaries, letter) for letter in "ijk")  # type: ignore[return-value]

    @property
    def sink_file(self) -> Path | None:
        """List of sinks, if the output has one."""
        files = sorted(self.folder.glob("sink_?????.csv"))
        return files[0] if files else None

    def sinks(self) -> QTable | None:
        """Read the sinks, or return None if the output has no list of sinks.

        Columns are identified by their names in the first row of the list, and their units by the second row.

        Returns
        -------
        QTable or None
            ``star``, ``mass``, position, velocity, ``age``, ``accretion_rate``, with units.

        Raises
        ------
        ReaderError
            If a column is missing, in another unit or not numeric, or a sink lies outside the box.
        """
        if self.sink_file is None:
            return None
        columns, units = _read_csv(self.sink_file)
        table = QTable({"star": columns["id"].astype(np.int64)})
        for name, (column, dimensions, scale, unit) in _SINKS.items():
            if column not in columns and name in _OPTIONAL:
                continue
            self._check_unit(column, units, dimensions)
            table[name] = columns[column] * self._scale(dimensions) / scale * unit
        if "tform" in columns and not self.cosmological:
            self._check_unit("tform", units, "t")
            table["age"] = (self.parameters["time"] - columns["tform"]) * self.parameters["unit_t"] / MYR * u.Myr
        self._check_positions(columns)
        return table

    def _scale(self, dimensions: str) -> float:
        """Return a code unit in cgs from its dimensions, such as ``"l t**-1"``."""
        length, time = self.parameters["unit_l"], self.parameters["unit_t"]
        base = {"m": self.parameters["unit_d"] * length**3, "l": length, "t": time}
        found = _CODE_UNIT.findall(dimensions)
        return float(np.prod([base[letter] ** int(power or 1) for letter, power in found]))

    def _check_unit(self, column: str, units: dict[str, str], dimensions: str) -> None:
        """Raise `ReaderError` unless the unit of a column is the expected one."""
        if (found := units.get(column)) != dimensions:
            raise ReaderError(
                f"{self.sink_file}: column {column!r} has unit {found!r}; expected {dimensions!r} in code units"
            )

    def _check_positions(self, columns: dict[str, np.ndarray]) -> None:
        """Raise `ReaderError` if a sink lies outside the box."""
        box = self.parameters["boxlen"]
        position = np.stack([columns[axis] for axis in "xyz"], axis=1)
        outside = np.any((position < 0) | (position > box * (1 + 1e-9)), axis=1)
        if outside.any():
            raise ReaderError(
                f"{self.sink_file}: {outside.sum()} of {len(position)} sinks lie outside the box of {box:g} code units;"
                f" the list belongs to another output"
            )


def _number(text: str) -> float | None:
    """Return a Fortran number, or None if the text is not a number."""
    try:
        return float(text.replace("D", "E").replace("d", "e"))
    except ValueError:
        return None


def _boundary_params(path: Path) -> dict[str, Any]:
    """Return the group BOUNDARY_PARAMS of a namelist; empty if there is no file or no such group.

    Raises
    ------
    ReaderError
        If the file is not a namelist.
    """
    if not path.is_file():
        return {}
    import f90nml  # comes with yt in the extra "yt", and only RAMSES needs it

    parser = f90nml.Parser()
    parser.global_start_index = 1  # ``ibound_min(2)=1`` is the second element of an array
    try:
        with redirect_stdout(StringIO()):  # f90nml prints its tables when it fails
            groups = parser.reads(path.read_text(errors="replace"))
    except Exception as error:  # f90nml raises errors of many types, AssertionError among them
        reason = f"{type(error).__name__}: {error}"[:160]
        raise ReaderError(f"{path}: not a Fortran namelist ({reason}); correct it, or give periodic") from error
    found = groups.get("boundary_params", {})
    return found[0] if isinstance(found, list) else found  # RAMSES reads the first of several groups


def _has_boundary(boundaries: dict[str, Any], letter: str) -> bool:
    """Return True if a boundary region closes the axis ``i``, ``j`` or ``k``: both bounds are -1, or both are +1."""
    number = boundaries.get("nboundary") or 0
    low, high = (_integers(boundaries, f"{letter}bound_{end}", number, default=0) for end in ("min", "max"))
    kinds = _integers(boundaries, "bound_type", number, default=1)
    return any(a * b == 1 and kind > 0 for a, b, kind in zip(low, high, kinds, strict=True))


def _integers(group: dict[str, Any], name: str, number: int, *, default: int) -> list[int]:
    """Return the first elements of a namelist array; those that are not set have the default value."""
    found = group.get(name, [])
    values = found if isinstance(found, list) else [found]
    values = [default if value is None else int(value) for value in values]
    return [*values, *[default] * number][:number]


def _read_csv(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return columns and their units, by name."""
    with path.open(newline="", errors="replace") as file:
        rows = [[cell.strip(" #\t") for cell in row] for row in csv.reader(file) if any(cell.strip() for cell in row)]
    if len(rows) < 2 or not {"id", "msink", *"xyz"} <= set(rows[0]):
        raise ReaderError(f"{path}: no rows of names (id, msink, x, y, z, ...) and units; the file is truncated")
    names, units, *records = rows
    if ragged := [number for number, record in enumerate(records, start=3) if len(record) != len(names)]:
        raise ReaderError(f"{path}: line {ragged[0]} does not have {len(names)} columns; the file is truncated")
    try:
        values = np.array(records, dtype=float).reshape(-1, len(names))
    except ValueError as error:
        raise ReaderError(f"{path}: not all values are numbers ({error})") from error
    return dict(zip(names, values.T)), dict(zip(names, units))
