"""Build the bundled model of stellarfm and its card.

    python benchmarks/build_bundled_model.py --encoder runs/shallow-0 --clouds ../shared/data/clouds

The model is fitted on clouds a and b only: cloud c contains the example field. The scores of the card are obtained from
all three, each held out in turn; nothing that is fitted for them becomes a part of the model.
"""

import argparse
from pathlib import Path

from stellarfm.evaluation import benchmark_model, model_card
from stellarfm.inference import MassRegressor, Readout, StellarModel
from stellarfm.inference.encoding.features import DEFAULT_POOLING
from stellarfm.inference.masses.mass_head import DEFAULT_COMPONENTS, DEFAULT_HEAD
from stellarfm.inference.model_directory import BUNDLED, CARD
from stellarfm.maps import MapScaler, MapSet
from stellarfm.output import check_output

COMMAND = "stellarfm benchmark cloud-a.h5 cloud-b.h5 cloud-c.h5 --model bundled --output scores"
REFERENCES = ("set", "window")


def build(options: argparse.Namespace) -> None:
    """Fit and evaluate the model, write the directory with its card, and print the sizes of its files."""
    check_output(options.output, overwrite=options.overwrite)
    clouds = {name: MapSet.read(options.clouds / f"cloud-{name}.h5") for name in "abc"}
    model = StellarModel.fit(
        MapSet.concatenate([clouds["a"], clouds["b"]]),
        encoder=options.encoder,
        scaler=MapScaler(column_reference=options.column_reference, dispersion_reference=options.dispersion_reference),
        readout=Readout(pooling=tuple(options.pooling), symmetries=options.symmetries, mirror=options.mirror),
        regressor=MassRegressor(
            n_components=options.components,
            n_neighbors=options.k,
            neighbours=options.neighbours,
            block_weights=options.weights,
            head=options.head,
        ),
        calibration_by=options.calibration_by,
    )
    print("fitted", model.head.cross_validation)
    everything = MapSet.concatenate(list(clouds.values()))
    scores = benchmark_model(everything, model=model, quick=options.quick, quiet=False)
    saved = model.save(options.output, overwrite=options.overwrite)
    (options.output / CARD).write_text(model_card(saved, scores, command=COMMAND))
    print((options.output / CARD).read_text())
    sizes = {path.name: path.stat().st_size / 1e6 for path in sorted(options.output.iterdir())}
    print(
        "\n".join(f"{name:24} {size:7.2f} MB" for name, size in sizes.items()), f"\ntotal {sum(sizes.values()):.2f} MB"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", required=True, help="output of `stellarfm pretrain`, or a name (random weights)")
    parser.add_argument("--clouds", type=Path, default=Path("../shared/data/clouds"))
    parser.add_argument("--output", type=Path, default=BUNDLED)
    parser.add_argument("--column-reference", choices=REFERENCES, default="set")
    parser.add_argument("--dispersion-reference", choices=REFERENCES, default="set")
    parser.add_argument("--pooling", nargs="+", default=DEFAULT_POOLING)
    parser.add_argument("--head", choices=("neighbours", "kernel"), default=DEFAULT_HEAD)
    parser.add_argument("--calibration-by", choices=("star", "simulation"), default="star")
    parser.add_argument("--weights", type=float, nargs="+", help="weights of the parts of the readout")
    parser.add_argument("--symmetries", action="store_true")
    parser.add_argument("--mirror", action="store_true")
    parser.add_argument("--components", type=int, default=DEFAULT_COMPONENTS)
    parser.add_argument("--k", type=int, default=MassRegressor().n_neighbors)
    parser.add_argument("--neighbours", choices=("windows", "stars"), default=MassRegressor().neighbours)
    parser.add_argument("--quick", action="store_true", help="short benchmark, to test the script")
    parser.add_argument("--overwrite", action="store_true")
    build(parser.parse_args())
