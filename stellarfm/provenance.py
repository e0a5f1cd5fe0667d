"""Record of what an output was made from: hashes of files, versions of packages, date."""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["build_date", "file_sha256", "package_versions", "record_command", "record_inputs"]


def file_sha256(path: str | os.PathLike) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def record_inputs(meta: dict[str, Any], paths: Sequence[str | os.PathLike]) -> None:
    """Add name and SHA-256 of each input file to the metadata of a result, in place."""
    for number, path in enumerate(paths, start=1):
        meta[f"input_{number}"] = Path(path).name
        meta[f"input_{number}_sha256"] = file_sha256(path)


def record_command(meta: dict[str, Any], args: argparse.Namespace) -> None:
    """Add the command line to the metadata of a result, in place, without the options of its output.

    Equal commands with different outputs give equal files.
    """
    words, skip = [], False
    for word in map(str, getattr(args, "command_line", ())):
        named = word in ("--overwrite", "--quiet", "-q", "-o", "--output") or word.startswith("--output=")
        if not skip and not named:
            words.append(word)
        skip = not skip and word in ("-o", "--output")
    if words:
        text = shlex.join(["stellarfm", *words]).replace("\n", " ")
        meta["command"] = text.encode("ascii", "backslashreplace").decode()


def build_date() -> dict[str, str]:
    """Return ``{"date": ...}`` if ``SOURCE_DATE_EPOCH`` is set, else ``{}``: equal inputs give equal outputs."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    return {"date": datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%S")} if epoch else {}


def package_versions(*packages: str) -> dict[str, str]:
    """Return the installed version of each distribution, by name and in the given order.

    Examples
    --------
    >>> sorted(package_versions("stellarfm", "numpy"))
    ['numpy', 'stellarfm']
    """
    return {package: version(package) for package in packages}
