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
    "HEAD",
    "PRESETS",
    "REFERENCE",
    "WEIGHTS",
    "bundled_directory",
    "config_text",
    "read_config",
    "text_sha256",
]

#: File names.
CONFIG, WEIGHTS, HEAD, REFERENCE, CARD = (
    "config.json",
    "encoder.safetensors",
    "head.safetensors",
    "reference.fits",
    "README.md",
)

SCHEMA, SCHEMA_VERSION = "stellarfm-model", 2

#: Entry of config.json with the hash of the other entries.
CONFIG_HASH = "config_sha256"

#: Directory of the bundled model.
BUNDLED = Path(__file__).resolve().parents[1] / "data" / "model"

#: Name of a published method -> directory of its bundled model.
PRESETS = {"hirashima2025": BUNDLED.with_name("hirashima2025")}

#: Required entries of config.json.
REQUIRED = ("encoder", "readout", "scaler", "head", "head_options", "calibration", "windows", "label_kind", "files")


def bundled_directory(choice: str | os.PathLike | None) -> Path | None:
    """Return the directory of ``"bundled"`` or a preset, or None for any other choice."""
    names = {"bundled": BUNDLED, **PRESETS}
    return names.get(choice) if isinstance(choice, str) else None


def config_text(config: dict[str, Any]) -> str:
    """Return the text of config.json, beginning with the schema and ending with a hash of all entries before it."""
    whole = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **config}
    return _dumps({**whole, CONFIG_HASH: text_sha256(_dumps(whole))})


def _dumps(config: dict[str, Any]) -> str:
    """Return the text of a configuration."""
    return json.dumps(config, indent=2, allow_nan=False) + "\n"


def text_sha256(text: str) -> str:
    """Return the sha256 of a text; that of config.json, which holds those of the other files, identifies a model."""
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
    _check_files(directory, config["files"])
    return config


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
            f"{path} has schema {schema!r} {version}; this version reads {SCHEMA!r} {SCHEMA_VERSION}; update stellarfm"
        )
    if version < SCHEMA_VERSION:
        raise ModelError(
            f"{path} has schema version {version}, whose head cannot be read any more; fit the model again with "
            "`stellarfm fit`"
        )
    missing = [key for key in REQUIRED if key not in config]
    if missing or not (isinstance(config["files"], dict) and {HEAD, REFERENCE} <= set(config["files"])):
        raise ModelError(
            f"{path} lacks {', '.join(missing) or 'hashes of the other files'}; fit or copy the model again"
        )
    stated = config.pop(CONFIG_HASH, None)
    if stated != text_sha256(_dumps(config)):
        raise ModelError(f"{path} was altered: its {CONFIG_HASH} does not fit its entries; fit or copy the model again")
    return config


def _check_files(directory: Path, hashes: dict[str, str]) -> None:
    """Raise `ModelError` if one of the files with hashes is missing or does not have its hash in the configuration."""
    for name in hashes:
        if name not in (WEIGHTS, HEAD, REFERENCE):
            raise ModelError(f"{directory / CONFIG} names the unknown file {name!r}; fit or copy the model again")
        path = directory / name
        if not path.is_file():
            raise ModelError(f"{path} is missing; the model is incomplete; fit or copy it again")
        if file_sha256(path) != hashes[name]:
            raise ModelError(
                f"{path} was altered or damaged: its sha256 is not the one in {CONFIG}; fit or copy the model again"
            )
