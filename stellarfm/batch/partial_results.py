"""Results of the snapshots that are finished, beside the output, so that a run that was killed can be resumed."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from stellarfm.batch.settings import ProjectionSettings
from stellarfm.exceptions import OutputExistsError, SnapshotError
from stellarfm.output import new_file

__all__ = ["Parts"]


class Parts:
    """The directory ``<output>.parts``: one map set a snapshot, and the settings that made them.

    Parameters
    ----------
    output : Path
        The final map set.
    settings : ProjectionSettings
        What is asked now.
    resume : bool
        Go on with what is there; it must have been made with the same settings.
    overwrite : bool
        Throw away what is there.

    Raises
    ------
    OutputExistsError
        If there is an unfinished run and neither `resume` nor `overwrite`.
    SnapshotError
        If it was made with other settings.
    """

    def __init__(self, output: Path, settings: ProjectionSettings, *, resume: bool, overwrite: bool) -> None:
        self.folder = output.with_name(f"{output.name}.parts")
        now = json.loads(json.dumps(settings.record()))
        if self.folder.exists() and not resume:
            if not overwrite:
                raise OutputExistsError(
                    f"{self.folder} holds an unfinished run; go on with --resume, or start afresh with --overwrite"
                )
            shutil.rmtree(self.folder)
        if self.folder.exists():
            self._check(now)
        else:
            self.folder.mkdir(parents=True)
            with new_file(self.folder / "settings.json") as temporary:
                temporary.write_text(json.dumps(now, indent=1))

    def _check(self, now: dict) -> None:
        """Refuse to mix maps of different settings."""
        try:
            before = json.loads((self.folder / "settings.json").read_text())
        except (OSError, ValueError) as error:
            raise SnapshotError(f"{self.folder}: its settings cannot be read; start afresh with --overwrite") from error
        changed = [name for name in now if now[name] != before.get(name)]
        if changed:
            facts = ", ".join(f"{name} was {before.get(name)!r}, now {now[name]!r}" for name in changed)
            raise SnapshotError(
                f"{self.folder} was made with other settings ({facts}); "
                "repeat them to resume, or start afresh with --overwrite"
            )

    def of(self, path: Path) -> Path:
        """Where the maps of a snapshot go; another file once the snapshot has changed."""
        state = "".join(f"{file}{file.stat().st_size}{file.stat().st_mtime_ns}" for file in _files(path))
        digest = hashlib.sha256(f"{path.resolve()}{state}".encode()).hexdigest()
        return self.folder / f"{path.name}-{digest[:16]}.h5"

    def remove(self) -> None:
        """Throw it away: the output is written."""
        shutil.rmtree(self.folder)


def _files(path: Path) -> list[Path]:
    """A file, or the files in a directory."""
    return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
