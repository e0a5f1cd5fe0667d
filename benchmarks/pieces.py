"""Large files in small pieces, for a way that takes only small ones; check sums tell whether all came through."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["MANIFEST", "PIECE", "Entry", "join", "piece_names", "read_manifest", "take", "write_manifest"]

#: Bytes of a piece at most; the way takes 16 MiB.
PIECE = 15 * 2**20
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Entry:
    """A file that travels: its path within the folder, its length and its check sum."""

    name: str
    size: int
    sha256: str

    @classmethod
    def of(cls, folder: Path, name: str) -> Entry:
        return cls(name, (folder / name).stat().st_size, _check_sum(folder / name))

    @property
    def pieces(self) -> list[str]:
        """Names of its pieces, in order."""
        stem = self.name.replace("/", "--")
        return [f"{stem}.{number:03d}" for number in range(max(1, -(-self.size // PIECE)))]


def _check_sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, names: Sequence[str], target: Path) -> list[Entry]:
    """Describe files of `folder` in ``manifest.json`` of `target`."""
    entries = [Entry.of(folder, name) for name in names]
    (target / MANIFEST).write_text(json.dumps([asdict(entry) for entry in entries], indent=1) + "\n")
    return entries


def read_manifest(folder: Path) -> list[Entry]:
    """What a manifest describes."""
    return [Entry(**entry) for entry in json.loads((folder / MANIFEST).read_text())]


def piece_names(entries: Sequence[Entry]) -> list[str]:
    """All pieces of all files, in order."""
    return [piece for entry in entries for piece in entry.pieces]


def take(folder: Path, entries: Sequence[Entry], target: Path, *, first: int, count: int) -> list[str]:
    """Write pieces number `first` to ``first + count - 1`` of all into `target`; gives their names."""
    chosen = piece_names(entries)[first : first + count]
    for entry in entries:
        for number, piece in enumerate(entry.pieces):
            if piece in chosen:
                with (folder / entry.name).open("rb") as file:
                    file.seek(number * PIECE)
                    (target / piece).write_bytes(file.read(PIECE))
    return chosen


def join(sources: Sequence[Path], target: Path) -> tuple[list[str], list[int]]:
    """Put files together from pieces that lie in several folders.

    Returns
    -------
    whole : list of str
        Files that are in `target` now; their check sums agree.
    missing : list of int
        Numbers of the pieces that are in none of the folders; a file that lacks one is not made.

    Raises
    ------
    ValueError
        If the folders hold pieces of different files, or a check sum is wrong.
    """
    manifests = [read_manifest(source) for source in sources]
    entries = manifests[0]
    if any(manifest != entries for manifest in manifests):
        raise ValueError(f"{', '.join(map(str, sources))} hold pieces of different files; give folders of one run")
    found = {path.name: path for source in sources for path in source.iterdir()}
    whole = [entry.name for entry in entries if all(piece in found for piece in entry.pieces)]
    for entry in entries:
        if entry.name in whole:
            _join(entry, found, target / entry.name)
    return whole, [number for number, piece in enumerate(piece_names(entries)) if piece not in found]


def _join(entry: Entry, found: dict[str, Path], target: Path) -> None:
    """One file, moved to its place when its check sum is right."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".partial-{target.name}")
    with partial.open("wb") as file:
        for piece in entry.pieces:
            with found[piece].open("rb") as source:
                shutil.copyfileobj(source, file)
    if _check_sum(partial) != entry.sha256:
        partial.unlink()
        raise ValueError(f"{entry.name}: the check sum of its pieces is wrong; fetch them again")
    partial.replace(target)
