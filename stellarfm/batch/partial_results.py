"""Results of finished snapshots, kept next to the output, so that an interrupted run can be resumed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from stellarfm.batch.settings import ProjectionSettings
from stellarfm.exceptions import OutputExistsError, SnapshotError
from stellarfm.output import check_output, new_directory, remove_directory

__all__ = ["Parts"]

#: Files in the directory: settings, one map set per snapshot, leftovers of workers that were killed.
PATTERNS = ("settings.json", "*-" + 16 * "?" + ".h5", "*.partial-*")


class Parts:
    """Directory ``<output>.parts``: one map set per snapshot, and their settings.

    Parameters
    ----------
    output : Path
        Path of the final map set.
    settings : ProjectionSettings
        Settings of the present run.
    resume : bool
        Whether existing parts are used; their settings must be the same.
    overwrite : bool
        Whether existing parts are deleted.

    Raises
    ------
    OutputExistsError
        If there is an unfinished run, and neither `resume` nor `overwrite` is True, or if the directory contains other
        files.
    SnapshotError
        If the existing parts have other settings.
    """

    def __init__(self, output: Path, settings: ProjectionSettings, *, resume: bool, overwrite: bool) -> None:
        self.folder = output.with_name(f"{output.name}.parts")
        now = json.loads(json.dumps(settings.record()))
        if self.folder.exists() and not resume:
            if not overwrite:
                raise OutputExistsError(
                    f"{self.folder} contains an unfinished run; continue it with resume=True "
                    "or replace it with overwrite=True"
                )
            remove_directory(check_output(self.folder, overwrite=True))
        if self.folder.exists():
            self._check(now)
        else:
            with new_directory(self.folder, patterns=PATTERNS) as folder:
                (folder / "settings.json").write_text(json.dumps(now, indent=1))

    def _check(self, now: dict) -> None:
        """Raise an error if the existing parts have other settings."""
        try:
            before = json.loads((self.folder / "settings.json").read_text())
        except (OSError, ValueError) as error:
            raise SnapshotError(
                f"{self.folder}: its settings cannot be read; start again with overwrite=True"
            ) from error
        changed = [name for name in now if now[name] != before.get(name)]
        if changed:
            facts = ", ".join(f"{name} was {before.get(name)!r}, now {now[name]!r}" for name in changed)
            raise SnapshotError(
                f"{self.folder} was made with other settings ({facts}); "
                "repeat them to resume, or start again with overwrite=True"
            )

    def path_for(self, path: Path) -> Path:
        """Return the file for the maps of a snapshot; another one if the snapshot has changed."""
        files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
        state = "".join(f"{file}{file.stat().st_size}{file.stat().st_mtime_ns}" for file in files)
        digest = hashlib.sha256(f"{path.resolve()}{state}".encode()).hexdigest()
        return self.folder / f"{path.name}-{digest[:16]}.h5"

    def remove(self) -> None:
        """Delete the directory."""
        remove_directory(self.folder)
