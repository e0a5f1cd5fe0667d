"""Files of a model directory: names, schema and hashes."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from stellarfm.exceptions import InputNotFoundError, ModelError
from stellarfm.provenance import file_sha256

__all__ = [
    "BUNDLED",
    "CARD",
    "CONFIG",
    "REFERENCE",
    "SUMS",
    "WEIGHTS",
    "config_text",
    "read_config",
    "sums_text",
    "text_sha256",
]

#: File names.
CONFIG, WEIGHTS, REFERENCE, CARD = "config.json", "encoder.safetensors", "reference.fits", "README.md"

#: Hash of config.json, in the format of ``sha256sum``; config.json has those of the other files.
SUMS = "SHA256SUMS"

SCHEMA, SCHEMA_VERSION = "stellarfm-model", 1

#: Directory of the bundled model.
BUNDLED = Path(__file__).resolve().parents[1] / "data" / "model"

#: Required entries of config.json.
REQUIRED = ("encoder", "readout", "scaler", "regressor", "calibration", "windows", "label_kind", "files")


def config_text(config: dict[str, Any]) -> str:
    """Return the text of config.json, beginning with the schema."""
    return json.dumps({"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **config}, indent=2, allow_nan=False) + "\n"


def text_sha256(text: str) -> str:
    """Return the sha256 of config.json, which holds those of the other files and so identifies a model."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_config(directory: str | os.PathLike) -> dict[str, Any]:
    """Return the configuration in a model directory after checking the files it names against their hashes.

    Raises
    ------
    InputNotFoundError
        If the directory does not exist.
    ModelError
        If a file is missing or altered, or the directory is not that of a model.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise InputNotFoundError(f"{directory}: no such model directory; make one with `stellarfm fit`")
    path = directory / CONFIG
    if not path.is_file():
        raise ModelError(f"{path} is missing; {directory} is not a complete model; fit or copy it again")
    config = _parsed(path)
    _check_config(path)
    _check_files(directory, config["files"])
    return config


def sums_text(sha256: str) -> str:
    """Return the text of SHA256SUMS for the sha256 of config.json."""
    return f"{sha256}  {CONFIG}\n"


def _check_config(path: Path) -> None:
    """Raise `ModelError` if SHA256SUMS is missing or config.json does not have its hash."""
    sums = path.with_name(SUMS)
    if not sums.is_file():
        raise ModelError(f"{sums} is missing; the model is incomplete; fit or copy it again")
    if sums.read_bytes().decode(errors="replace").split() != [file_sha256(path), CONFIG]:
        raise ModelError(
            f"{path} was altered or damaged: its sha256 is not the one in {SUMS}; fit or copy the model again"
        )


def _parsed(path: Path) -> dict[str, Any]:
    """Return the content of config.json; raise `ModelError` if it is not that of a model or lacks an entry."""
    try:
        config = json.loads(path.read_text())
        schema, version = config["schema"], config["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path} is not the configuration of a model ({error!r}); fit or copy the model again"
        ) from error
    if schema != SCHEMA or version > SCHEMA_VERSION:
        raise ModelError(
            f"{path} has schema {schema!r} {version}; this stellarfm reads {SCHEMA!r} up to {SCHEMA_VERSION}"
        )
    missing = [key for key in REQUIRED if key not in config]
    if missing or not (isinstance(config["files"], dict) and {WEIGHTS, REFERENCE} <= set(config["files"])):
        raise ModelError(
            f"{path} lacks {', '.join(missing) or 'hashes of the other files'}; fit or copy the model again"
        )
    return config


def _check_files(directory: Path, hashes: dict[str, str]) -> None:
    """Raise `ModelError` if one of the binary files is missing or does not have its hash in the configuration."""
    for name in (WEIGHTS, REFERENCE):
        path = directory / name
        if not path.is_file():
            raise ModelError(f"{path} is missing; the model is incomplete; fit or copy it again")
        if file_sha256(path) != hashes[name]:
            raise ModelError(
                f"{path} was altered or damaged: its sha256 is not the one in {CONFIG}; fit or copy the model again"
            )
