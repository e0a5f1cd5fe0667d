"""Encoder weights on disk: safetensors, nothing that could be executed."""

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

__all__ = ["load_weights", "read_metadata", "save_weights"]

STORAGE = {"fp32": torch.float32, "fp16": torch.float16}


def save_weights(
    encoder: nn.Module | Mapping[str, torch.Tensor],
    path: str | os.PathLike,
    *,
    storage: str = "fp32",
    metadata: dict[str, str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the state of `encoder` to a safetensors file.

    Parameters
    ----------
    encoder : torch.nn.Module or mapping
        Its state dictionary is stored; or that dictionary itself.
    path : path-like
        The file to be made; it appears whole or not at all.
    storage : {"fp32", "fp16"}
        Type in which floating-point tensors are stored.
    metadata : dict of str, optional
        Words that travel with the weights.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    pathlib.Path
        `path`.
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
    """Load a safetensors file into `encoder`, in place; every name and every shape must agree.

    Stored half-precision numbers are converted to the encoder's own type.

    Raises
    ------
    InputNotFoundError
        If there is no such file.
    ModelError
        If it is no safetensors file, or tensors are missing, unexpected, of another shape or not finite.
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
            raise ModelError(f"{path}: {name} holds NaN or infinity; the weights are damaged, train or fetch them anew")
    encoder.load_state_dict(stored)


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
    """The words stored with the weights in `path`; errors as in `load_weights`."""
    with _open(Path(path)) as file:
        return dict(file.metadata() or {})


def _open(path: Path):
    """The safetensors file, opened lazily, with our errors."""
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file; expected encoder weights (safetensors)")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path} is not a whole safetensors file ({error}); train or fetch the weights anew"
        ) from error


def _read(path: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a safetensors file."""
    with _open(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping


def _check_names(expected: dict[str, torch.Tensor], stored: dict[str, torch.Tensor], path: str | os.PathLike) -> None:
    """Raise `ModelError` if the two sets of tensor names differ."""
    for problem, names in (
        ("lacks", expected.keys() - stored.keys()),
        ("has unexpected", stored.keys() - expected.keys()),
    ):
        if names:
            shown = ", ".join(sorted(names)[:3]) + (" ..." if len(names) > 3 else "")
            raise ModelError(f"{path} {problem} {len(names)} tensors ({shown}); these are weights of another encoder")
