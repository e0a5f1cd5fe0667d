"""A tiny encoder and a tiny dataset, found by name like any plugin."""

import pytest

MODULE = '''
import os
import signal
from pathlib import Path

import numpy as np

import torch

from stellarfm.contracts import Encoder, Features, PretrainingDataset
from stellarfm.encoders.vit import VisionTransformerEncoder


class Micro(VisionTransformerEncoder):
    embed_dim = 24
    depth = 2
    heads = 3


class Plain(torch.nn.Module, Encoder):
    embed_dim, patch_size = 8, 8

    def __init__(self, *, in_channels: int = 3):
        super().__init__()
        self.in_channels = in_channels
        self.patches = torch.nn.Conv2d(in_channels, 8, 8, 8)

    def encode(self, images, *, mask=None):
        if mask is not None:
            raise ValueError("no masks")
        patches = self.patches(images).permute(0, 2, 3, 1)
        return Features(patches.mean(dim=(1, 2)), patches)


class Waves(PretrainingDataset):
    """Plane waves; `trap` names a file that holds the number of images after which the process gets a signal."""

    def __init__(self, *, size: int = 32, seed: int = 0, channels: int = 3, trap: str = "", kind: int = 9):
        self.size, self.seed, self.channels = size, seed, channels
        self.trap, self.kind = trap, kind
        self.made = 0

    def __len__(self):
        return 1000

    def image(self, index):
        self.made += 1
        if self.trap and os.path.exists(self.trap) and self.made > int(Path(self.trap).read_text()):
            os.remove(self.trap)
            os.kill(os.getpid(), self.kind)
        rng = np.random.default_rng([self.seed, index])
        y, x = np.mgrid[: self.size, : self.size] / self.size
        angles, phases = rng.uniform(0, 6.3, (2, self.channels))
        waves = [np.sin(9 * (x * np.cos(a) + y * np.sin(a)) + p) for a, p in zip(angles, phases)]
        return (0.5 + 0.5 * np.stack(waves)).astype(np.float32)


class Grey(Waves):
    def image(self, index):
        return np.full((self.channels, self.size, self.size), 0.5, np.float32)


class Faint(Waves):
    def image(self, index):
        return np.float32(0.5) + np.float32(1e-3) * super().image(index)


class Darkness(Waves):
    def image(self, index):
        return np.full((self.channels, self.size, self.size), np.nan, np.float32)
'''


@pytest.fixture
def plugins(distribution, tmp_path):
    """Install the encoders ``micro`` and ``plain`` and the datasets ``waves``, ``faint``, ``grey`` and ``darkness``."""
    folder = tmp_path / "plugins"
    distribution(
        "tiny",
        folder=folder,
        modules={"tiny_plugins": MODULE},
        encoders={"micro": "tiny_plugins:Micro", "plain": "tiny_plugins:Plain"},
        datasets={kind.lower(): f"tiny_plugins:{kind}" for kind in ("Waves", "Faint", "Grey", "Darkness")},
    )
    return folder


@pytest.fixture
def recipe():
    """Six steps of eight images of 32 pixels."""
    from stellarfm.pretraining.recipe import Recipe

    return Recipe(
        steps=6,
        batch_size=8,
        size=32,
        learning_rate=1e-3,
        warmup_steps=2,
        precision="32-true",
        workers=0,
        torch_threads=1,
        checkpoint_steps=2,
        log_steps=1,
        encoder={"drop_path_rate": 0.2},
        method={
            "prototypes": 16,
            "hidden": 16,
            "bottleneck": 8,
            "global_size": 16,
            "local_size": 8,
            "local_crops": 2,
            "momentum": [0.9, 1.0],
            "frozen_prototypes": 0.2,
        },
    )
