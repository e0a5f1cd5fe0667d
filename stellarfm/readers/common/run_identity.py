"""Where a snapshot comes from: names, sizes and hashes, without reading gigabytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["file_hashes", "run_name", "snapshot_number"]

#: Files up to this size are hashed whole; larger ones count by name and size.
SMALL = 4 * 2**20

#: Files of which a run writes one a process (RAMSES, Enzo): many, and none says what the run is.
_OF_ONE_PROCESS = re.compile(r"\.(out|cpu)\d+$")


def file_hashes(files: Iterable[Path]) -> dict[str, str]:
    """Provenance of some files.

    Parameters
    ----------
    files : iterable of Path
        All files that were, or will be, read.

    Returns
    -------
    dict of str to str
        ``"sha256 NAME"`` of at most eight files below 4 MiB, headers, parameters and lists of sinks first, and
        ``"files"``: number, total size, and SHA-256 of the list of all names and sizes.
    """
    sizes = {file: file.stat().st_size for file in sorted(set(files)) if file.is_file()}
    small = [file for file in sizes if sizes[file] <= SMALL]
    small = sorted(small, key=lambda file: (bool(_OF_ONE_PROCESS.search(file.name)), sizes[file]))[:8]
    listing = "".join(f"{file.name} {size}\n" for file, size in sizes.items())
    digest = hashlib.sha256(listing.encode()).hexdigest()
    return {
        **{f"sha256 {file.name}": hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(small)},
        "files": f"{len(sizes)} files, {sum(sizes.values())} bytes, sha256 of names and sizes {digest}",
    }


#: Directories that hold one output of a run, as Enzo, RAMSES and Gadget name them.
_ONE_OUTPUT = re.compile(r"(DD|RD|output_|snapdir_)\d+")


def run_name(output: Path) -> str:
    """Name of the run: the directory that holds the output, and perhaps others of the run."""
    folder = output.resolve().parent
    return folder.parent.name if _ONE_OUTPUT.fullmatch(folder.name) else folder.name


def snapshot_number(output: Path) -> int | str:
    """The last number in the name of an output, such as 7 for ``output_00007``; the name itself if there is none."""
    name = re.sub(r"(\.\d+)?\.(hdf5|h5)$|\.[A-Za-z]\w*$", "", output.name)
    numbers = re.findall(r"\d+", name)
    return int(numbers[-1]) if numbers else name
