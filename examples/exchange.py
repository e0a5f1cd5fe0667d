"""Write a snapshot in the exchange format with h5py alone, and project maps around its star."""

import h5py
import numpy as np

from stellarfm.batch import ProjectionSettings, project_snapshots

# The gas of a simulation: here 32^3 cells in a box of 1 pc, denser towards a star at the center.
side, cell = 1.0, 1 / 32
centers = (np.arange(32) + 0.5) * cell
position = np.stack(np.meshgrid(centers, centers, centers, indexing="ij"), axis=-1).reshape(-1, 3)
radius = np.linalg.norm(position - 0.5, axis=1)
density = 1e-19 / (1 + (radius / 0.05) ** 2)
rotation = np.stack([0.5 - position[:, 1], position[:, 0] - 0.5, np.zeros_like(radius)], axis=1)
velocity = rotation + np.random.default_rng(0).normal(0, 0.2, position.shape)

with h5py.File("snapshot.h5", "w") as file:
    file.attrs["schema"] = "stellarfm-snapshot"
    file.attrs["schema_version"] = 1
    file.attrs["simulation"] = "example"  # the same name for all snapshots of a run
    file.attrs["snapshot"] = 12
    file.attrs["lower"], file.attrs["lower_unit"] = [0.0, 0.0, 0.0], "pc"
    file.attrs["upper"], file.attrs["upper_unit"] = [side, side, side], "pc"
    file.attrs["periodic"] = [True, True, True]
    file.attrs["time"], file.attrs["time_unit"] = 0.3, "Myr"
    file.attrs["label_kind"] = "sink"  # kind of the masses: "sink" or "star"

    gas = file.create_group("gas")
    gas.attrs["kind"] = "cells"
    for name, values, unit in (
        ("position", position, "pc"),
        ("size", np.full(len(position), cell), "pc"),
        ("density", density, "g cm-3"),
        ("velocity", velocity, "km s-1"),
    ):
        gas.create_dataset(name, data=values).attrs["unit"] = unit

    stars = file.create_group("stars")
    stars["star"] = [1]
    for name, values, unit in (("mass", [2.0], "solMass"), ("x", [0.5], "pc"), ("y", [0.5], "pc"), ("z", [0.5], "pc")):
        stars.create_dataset(name, data=values).attrs["unit"] = unit

# Equivalent to: stellarfm project snapshot.h5 --output maps.h5 --width "0.5 pc" --pixels 32
maps = project_snapshots(["snapshot.h5"], output="maps.h5", settings=ProjectionSettings(width="0.5 pc", pixels=32))
for row, column in zip(maps.stars, maps.column_density, strict=True):
    print(f"star {row['star']} of {row['mass']:.1f} along {row['axis']}: at most {column.max():.2g}")
