"""Names, sizes and hashes that identify the run and the files of a snapshot, without reading gigabytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["file_hashes", "run_name", "snapshot_number"]

#: Files up to this size are hashed whole; larger ones count by name and size.
SMALL = 4 * 2**20

#: Files that a run writes once per process (RAMSES, Enzo): many, and none of them identifies the run.
_PER_PROCESS = re.compile(r"\.(out|cpu)\d+$")

#: Directories that hold one output of a run, as Enzo, RAMSES and Gadget name them.
_OUTPUT_DIRECTORY = re.compile(r"(DD|RD|output_|snapdir_)\d+")


def file_hashes(files: Iterable[Path]) -> dict[str, str]:
    """Return the provenance of some files.

    Parameters
    ----------
    files : iterable of Path
        All files that were, or will be, read.

    Returns
    -------
    dict of str to str
        ``"sha256 NAME"`` of at most eight files up to 4 MiB, headers, parameters and lists of sinks first, and
        ``"files"``: number, total size, and SHA-256 of the list of all names and sizes.
    """
    sizes = {file: file.stat().st_size for file in sorted(set(files)) if file.is_file()}
    small = [file for file in sizes if sizes[file] <= SMALL]
    small = sorted(small, key=lambda file: (bool(_PER_PROCESS.search(file.name)), sizes[file]))[:8]
    listing = "".join(f"{file.name} {size}\n" for file, size in sizes.items())
    digest = hashlib.sha256(listing.encode()).hexdigest()
    return {
        **{f"sha256 {file.name}": hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(small)},
        "files": f"{len(sizes)} files, {sum(sizes.values())} bytes, sha256 of names and sizes {digest}",
    }


def run_name(output: Path) -> str:
    """Return the name of the run: the directory that holds this output and perhaps others of the run."""
    folder = output.resolve().parent
    return folder.parent.name if _OUTPUT_DIRECTORY.fullmatch(folder.name) else folder.name


def snapshot_number(output: Path) -> int | str:
    """Return the last number in the name of an output, such as 7 for ``output_00007``, or the name if it has none."""
    name = re.sub(r"(\.\d+)?\.(hdf5|h5)$|\.[A-Za-z]\w*$", "", output.name)
    numbers = re.findall(r"\d+", name)
    return int(numbers[-1]) if numbers else name
