"""The command ``stellarfm example.slope``: slope of the power spectrum of the images of a dataset."""

import argparse

from stellarfm import registry
from stellarfm.contracts import Command

__all__ = ["Slope"]


class Slope(Command):
    """Command that prints the slope of the mean power spectrum of the images of a dataset."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options."""
        parser.description = "Print the slope of the mean power spectrum of a dataset's images."
        parser.add_argument("dataset", help="name of a dataset (`stellarfm plugins` lists them)")
        parser.add_argument("--count", type=int, default=20, help="number of images (default: 20)")
        parser.add_argument("--size", type=int, default=64, help="side of the images in pixels (default: 64)")

    def run(self, args: argparse.Namespace) -> None:
        """Measure the slope and print it."""
        import numpy as np

        dataset = registry.create("datasets", args.dataset, size=args.size, channels=1)
        images = np.stack([dataset.image(index)[0] for index in range(args.count)])
        power = (np.abs(np.fft.fft2(images)) ** 2).mean(axis=0)
        k = np.arange(2, args.size // 2)
        print(f"{np.polyfit(np.log(k), np.log(power[0, k]), 1)[0]:.2f}")  # noqa: T201 - output of the command
