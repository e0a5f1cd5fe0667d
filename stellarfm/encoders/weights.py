"""Encoder weights on disk, as safetensors files, which cannot execute code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from stellarfm.exceptions import InputNotFoundError, ModelError
from stellarfm.output import new_file

__all__ = ["bundled_weights", "load_weights", "read_metadata", "save_weights"]

STORAGE = {"fp32": torch.float32, "fp16": torch.float16}


def bundled_weights() -> Path:
    """Return the path of the weights of the bundled model's encoder.

    Examples
    --------
    >>> from stellarfm.encoders import bundled_weights
    >>> bundled_weights().name
    'encoder.safetensors'
    """
    return Path(__file__).resolve().parents[1] / "data" / "model" / "encoder.safetensors"


def save_weights(
    encoder: nn.Module | Mapping[str, torch.Tensor],
    path: str | os.PathLike,
    *,
    storage: str = "fp32",
    metadata: dict[str, str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the weights of an encoder to a safetensors file.

    Parameters
    ----------
    encoder : torch.nn.Module or mapping
        Encoder, or its state dictionary.
    path : path-like
        Path of the file, which is written atomically.
    storage : {"fp32", "fp16"}
        Data type in which floating-point tensors are stored.
    metadata : dict of str, optional
        Text stored with the weights.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    pathlib.Path
        Path of the file.

    Raises
    ------
    ValueError
        If `storage` is unknown.
    OutputExistsError
        If the file exists, without `overwrite`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from stellarfm.encoders import ShallowResNet, load_weights, read_metadata, save_weights
    >>> encoder = ShallowResNet()
    >>> with TemporaryDirectory() as folder:
    ...     path = save_weights(encoder, Path(folder) / "encoder.safetensors", metadata={"steps": "100"})
    ...     load_weights(encoder, path)
    ...     read_metadata(path)
    {'steps': '100'}
    """
    if storage not in STORAGE:
        raise ValueError(f"storage is {storage!r}; expected one of {', '.join(STORAGE)}")
    state = encoder.state_dict() if isinstance(encoder, nn.Module) else encoder
    tensors = {
        name: (tensor.to(STORAGE[storage]) if tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in state.items()
    }
    with new_file(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(save(tensors, metadata=metadata))
    return Path(path)


def load_weights(encoder: nn.Module, path: str | os.PathLike) -> None:
    """Load a safetensors file into an encoder, in place.

    All names and shapes must agree; half-precision values are converted to the data type of the encoder.

    Parameters
    ----------
    encoder : torch.nn.Module
        Encoder with the options with which the weights were trained.
    path : path-like
        Path of the file.

    Raises
    ------
    InputNotFoundError
        If the file does not exist.
    ModelError
        If it is not a safetensors file, or tensors are missing, unexpected, of another shape or not finite.

    Examples
    --------
    >>> from stellarfm.encoders import ShallowResNet, bundled_weights, load_weights
    >>> load_weights(ShallowResNet(), bundled_weights())
    """
    stored = _read(Path(path))
    expected = encoder.state_dict()
    _check_names(expected, stored, path)
    for name, tensor in stored.items():
        if tensor.shape != expected[name].shape:
            raise ModelError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, the encoder expects {tuple(expected[name].shape)}; "
                "create the encoder with the options the weights were trained with (encoder.json)"
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelError(
                f"{path}: {name} contains NaN or infinity; the weights are damaged, train or download them again"
            )
    encoder.load_state_dict(stored)


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
    """Return the text stored with the weights in `path`, as a dictionary; see `save_weights`.

    Raises
    ------
    InputNotFoundError, ModelError
        If the file does not exist or is not a safetensors file.

    Examples
    --------
    >>> from stellarfm.encoders import bundled_weights, read_metadata
    >>> read_metadata(bundled_weights())
    {}
    """
    with _open(Path(path)) as file:
        return dict(file.metadata() or {})


def _open(path: Path):
    """Open a safetensors file lazily."""
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file; expected encoder weights (safetensors)")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path} is not a complete safetensors file ({error}); train or download the weights again"
        ) from error


def _read(path: Path) -> dict[str, torch.Tensor]:
    """Return all tensors of a safetensors file."""
    with _open(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping


def _check_names(expected: dict[str, torch.Tensor], stored: dict[str, torch.Tensor], path: str | os.PathLike) -> None:
    """Raise `ModelError` if the two sets of tensor names differ."""
    for problem, names in (
        ("lacks", expected.keys() - stored.keys()),
        ("has unexpected", stored.keys() - expected.keys()),
    ):
        if names:
            shown = ", ".join(sorted(names)[:3]) + (" ..." if len(names) > 3 else "")
            raise ModelError(f"{path} {problem} {len(names)} tensors ({shown}); these are weights of another encoder")
