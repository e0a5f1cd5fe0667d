"""Build a model that comes with stellarfm, and its card.

    python benchmarks/build_bundled_model.py --encoder runs/shallow-0 --clouds ../shared/data/clouds
    python benchmarks/build_bundled_model.py --preset hirashima2025 --encoder runs/nano8

Fitted to clouds a, b and e, the last also with its whole line of sight; cloud c is that of the example field. The
scores of the card come from all four, each held out in turn; nothing fitted for them is in the model.
"""

import argparse
from pathlib import Path

from stellarfm.evaluation import benchmark_model, model_card
from stellarfm.inference import StellarModel
from stellarfm.inference.model_directory import BUNDLED, CARD, PRESETS
from stellarfm.inference.presets import preset_options
from stellarfm.maps import MapSet
from stellarfm.output import check_output

COMMAND = "stellarfm benchmark cloud-a.h5 cloud-b.h5 cloud-c.h5 cloud-e.h5 --model {model} --output scores"

#: Map sets of the reference set, and those that the scores of the card come from.
REFERENCE, SCORED = ("a", "b", "e", "e_deep"), ("a", "b", "c", "e")


def build(options: argparse.Namespace) -> None:
    """Fit, score, write the directory with its card, print the sizes."""
    output = options.output or PRESETS.get(options.preset, BUNDLED)
    check_output(output, overwrite=options.overwrite)
    clouds = {n: MapSet.read(options.clouds / f"cloud-{n}.h5") for n in dict.fromkeys((*REFERENCE, *SCORED))}
    parts = {**(preset_options(options.preset) if options.preset else {}), "encoder": options.encoder}
    model = StellarModel.fit([clouds[name] for name in REFERENCE], **parts)
    print("fitted", model.head.cross_validation)
    saved = model.save(output, overwrite=options.overwrite)
    if not options.no_card:
        windows = MapSet.concatenate([clouds[name] for name in SCORED])
        found = benchmark_model(windows, model=model, quick=options.quick, quiet=False)
        command = COMMAND.format(model=options.preset or "bundled")
        (output / CARD).write_text(model_card(saved, found, command=command))
    print((output / CARD).read_text())
    sizes = {path.name: path.stat().st_size / 1e6 for path in sorted(output.iterdir())}
    print(
        "\n".join(f"{name:24} {size:7.2f} MB" for name, size in sizes.items()), f"\ntotal {sum(sizes.values()):.2f} MB"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", required=True, help="output of `stellarfm pretrain`, or a name (random weights)")
    parser.add_argument("--preset", choices=PRESETS, help="published method, in place of the default readout and head")
    parser.add_argument("--clouds", type=Path, default=Path("../shared/data/clouds"))
    parser.add_argument("--output", type=Path, help="directory of the model (default: its place in the package)")
    parser.add_argument("--quick", action="store_true", help="a rough benchmark: to try the script")
    parser.add_argument("--no-card", action="store_true", help="keep the short card and run no benchmark")
    parser.add_argument("--overwrite", action="store_true")
    build(parser.parse_args())
