"""Score masses in whole simulated fields, each by a model whose reference set does not contain the cloud.

    python benchmarks/fields.py --data ../shared/data --output benchmarks/results/fields

The fields hold the whole line of sight. A reference set has the cubes of the other clouds, and the windows of cloud e
with the whole line of sight unless e is the cloud in question; without these, intervals are those of cubes.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.table import QTable
from results_file import write_results

from stellarfm import GasMaps, MapSet, StellarModel

CLOUDS = ("a", "b", "c", "e")
LEVELS = (68, 95)


def fit_without(cloud: str, folder: Path) -> StellarModel:
    """Return the default model fitted to all clouds but one."""
    names = [name for name in CLOUDS if name != cloud] + ([] if cloud == "e" else ["e_deep"])
    return StellarModel.fit([MapSet.read(folder / f"cloud-{name}.h5") for name in names], encoder=None)


def score_field(model: StellarModel, path: Path, depth: str) -> dict[str, float | str]:
    """Return R2, bias, coverage and width of the masses of the stars in a field."""
    stars = QTable.read(path, hdu="STARS")
    masses = model.estimate(GasMaps.read(path), sources=stars, depth=depth, levels=(0.68, 0.95))
    true = np.log10(stars["mass"].to_value("solMass"))
    known = np.isfinite(masses["mass"].value)
    row: dict[str, float | str] = {"field": path.stem, "depth": depth, "stars": int(known.sum())}
    for name in ("mass", "mass_mean"):
        error = np.log10(masses[name].value[known]) - true[known]
        row[f"r2_{name}"] = float(1 - np.sum(error**2) / np.sum((true[known] - true[known].mean()) ** 2))
        row[f"bias_{name}"] = float(error.mean())
    for level in LEVELS:
        lower, upper = (np.log10(masses[f"mass_{end}_{level}"].value[known]) for end in ("lower", "upper"))
        row[f"coverage_{level}"] = float(np.mean((true[known] >= lower) & (true[known] <= upper)))
        row[f"width_{level}"] = float(np.mean(upper - lower))
    row["flagged"] = float(np.mean(masses["ood"][known] > 1))
    return row


def format_table(rows: list[dict[str, float | str]]) -> str:
    """Return the rows as a Markdown table."""
    head = (
        "field",
        "depth",
        "stars",
        "R2 of the median",
        "R2 of the mean",
        "bias",
        "68 % covers",
        "width",
        "95 % covers",
    )
    lines = ["| " + " | ".join((*head, "flagged")) + " |", "| :-- " + "| --: " * 9 + "|"]
    for row in rows:
        lines.append(
            f"| {row['field']} | {row['depth']} | {row['stars']} | {row['r2_mass']:.2f} | {row['r2_mass_mean']:.2f} | "
            f"{row['bias_mass']:+.2f} | {row['coverage_68']:.2f} | {row['width_68']:.2f} | {row['coverage_95']:.2f} | "
            f"{row['flagged']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Fit a model for each cloud, score its fields, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--output", type=Path, help="FILE, without ending, for FILE.md and FILE.json")
    options = parser.parse_args()
    rows = []
    for cloud in ("c", "b", "e"):
        model = fit_without(cloud, options.data / "clouds")
        for path in sorted((options.data / "fields").glob(f"cloud-{cloud}_*.fits")):
            rows.append(score_field(model, path, "cube" if cloud == "e" else "field"))
            print(format_table(rows[-1:]).splitlines()[-1], flush=True)
    words = format_table(rows)
    print(words)
    if options.output:
        write_results(options.output, {"fields": rows}, words)


if __name__ == "__main__":
    main()
