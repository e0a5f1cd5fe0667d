"""Every way to play gives the counts of the CPU renderer, to the last bit."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from stellarfm.exceptions import FractalError
from stellarfm.fractals import VARIATIONS, FlameMap, Genome, Transform, sample_genome
from stellarfm.fractals.rendering import FIXED_WINDOW, Window, compile_genome, render, render_batch

AFFINE = [(0.5, 0.2, 0.4, -0.2, 0.5, 0.3), (0.6, -0.1, -0.4, 0.2, 0.5, 0.3), (0.4, 0.3, 0.2, -0.3, 0.6, -0.4)]
THROWN = FlameMap(affine=(1e20, 0, 1e20, 0, 1e20, 1e20), probability=0.05)


def with_every_feature(name):
    """A genome of one variation, mixed with another, with a post map, a final map, and walkers that escape."""
    maps = [FlameMap(affine=numbers, variations=((name, 0.8),), color=0.2) for numbers in AFFINE]
    two, bent = tuple({"julia": 0.4, name: 0.3}.items()), tuple({"linear": 0.3, name: 0.7}.items())
    mixed = FlameMap(affine=AFFINE[0], variations=two, post=AFFINE[2], color=0.9)
    final = Transform(affine=(1.0, 0.1, 0.0, 0.2, 1.0, 0.3), variations=bent, post=AFFINE[1])
    return Genome(maps=(*maps, mixed, THROWN), final=final)


GENOMES = [with_every_feature(name) for name in VARIATIONS]
GENOMES += [sample_genome(sampler, seed=0, index=index) for sampler in ("flames", "ifs") for index in range(24)]


def compare(genomes, *, points, size=24, color=True):
    programs = [compile_genome(genome) for genome in genomes]
    windows = [Window(-1.0 - 0.01 * number, -1.0, 2.0) for number in range(len(genomes))]
    seeds = range(len(genomes))
    batch = render_batch(programs, windows, size=size, points=points, seeds=seeds, color=color)
    assert batch.dtype == torch.int64
    for program, window, seed, found in zip(programs, windows, seeds, batch.numpy(), strict=True):
        expected = render(program, window, size=size, points=points, seed=seed, color=color)
        np.testing.assert_array_equal(found, expected)
    return batch


def test_torch_plays_like_numba():
    batch = compare(GENOMES, points=3000)
    assert (batch[..., 0].sum(dim=(1, 2)) > 0).sum() > 0.9 * len(GENOMES)


def test_several_ensembles_and_a_last_step_cut_short():
    compare(GENOMES[4:6] + GENOMES[-2:], points=70_001)


def test_counts_without_color():
    assert compare(GENOMES[:3], points=500, color=False).shape == (3, 24, 24, 1)


def test_an_image_does_not_depend_on_its_batch():
    programs = [compile_genome(genome) for genome in GENOMES[20:24]]
    together = render_batch(programs, [FIXED_WINDOW] * 4, size=16, points=2000)
    alone = torch.cat([render_batch([program], [FIXED_WINDOW], size=16, points=2000) for program in programs[::-1]])
    assert torch.equal(together, alone.flip(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"programs": []}, "0 programs, 1 windows and 1 seeds cannot be batched"),
        ({"seeds": [1, 2]}, "1 programs, 1 windows and 2 seeds cannot be batched"),
        ({"seeds": [-1]}, "seed is -1"),
        ({"device": "mps"}, "choose cpu or cuda"),
        ({"points": 0}, "at least 1 point"),
        ({"size": 0}, "1 to 32768 pixels"),
        ({"windows": [Window(0.0, float("nan"), 1.0)]}, "is not a square"),
    ],
)
def test_what_cannot_be_played(change, message):
    fields = {"programs": [compile_genome(GENOMES[0])], "windows": [FIXED_WINDOW], "seeds": [0], "size": 8, "points": 9}
    with pytest.raises(FractalError, match=message):
        render_batch(**fields | change)


INTERPRETED = """
from stellarfm.fractals.rendering import chaos_game as chaos

chaos.BURN_IN, chaos.MINIMUM_STEPS, chaos.STRIDE = 2, 4, 2  # the interpreter is slow
from stellarfm.fractals.rendering import torch_kernel
from stellarfm.fractals.rendering import triton_kernel
from stellarfm.fractals.genomes.genome import Genome
from stellarfm.fractals.rendering.batch import batch_programs
from stellarfm.fractals.rendering.program import FIXED_WINDOW, compile_genome

genomes = [Genome.from_json(text) for text in {genomes!r}]
programs, windows = [compile_genome(genome) for genome in genomes], [FIXED_WINDOW] * len(genomes)
batch = batch_programs(programs, windows, range(len(genomes)), size=8, points=900, device="cpu")
for color in (True, False):
    found = triton_kernel.play(batch, size=8, points=900, color=color)
    assert (found == torch_kernel.play(batch, size=8, points=900, color=color)).all()
    assert (found[..., 0].sum(dim=(1, 2)) > 100).all()
"""


def test_the_triton_kernel_plays_like_torch():
    """In Triton's interpreter, on a CPU: a few steps of a genome with a final map and walkers that escape."""
    pytest.importorskip("triton", reason="triton is for Linux only")
    genomes = [with_every_feature("heart").to_json()]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INTERPRETED.format(genomes=genomes)], env=environment, check=True
    )


def test_the_triton_kernel_compiles_without_contracted_operations():
    """For Hopper, which takes no GPU: all products, sums, quotients and roots are rounded one by one."""
    triton = pytest.importorskip("triton", reason="triton is for Linux only")
    from stellarfm.fractals.rendering import triton_kernel

    types = {"choice": "*u8", "has_post": "*i1", "has_final": "*i1", "n_terms": "*i32", "codes": "*i32"}
    types |= dict.fromkeys(("affine", "post", "weights", "colors", "frames", "scratch"), "*fp32")
    types |= dict.fromkeys(("keys", "histograms"), "*i64") | {"COLOR": "constexpr"}
    kernel = triton_kernel._play
    source = triton.compiler.ASTSource(
        fn=kernel, signature={name: types.get(name, "i32") for name in kernel.arg_names}, constexprs={"COLOR": True}
    )
    target = triton.backends.compiler.GPUTarget("cuda", 90, 32)
    text = triton.compile(source, target=target, options=triton_kernel.OPTIONS).asm["ptx"]
    operations = set(re.findall(r"\b(?:fma|mul|add|sub|div|sqrt)\.[\w.]*f32", text))
    assert operations == {"mul.rn.f32", "add.rn.f32", "sub.rn.f32", "div.rn.f32", "sqrt.rn.f32"}
