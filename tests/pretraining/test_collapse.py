"""The guard: what it stops, what it must not stop, and that it does not forget."""

import csv
import math
from pathlib import Path

import pytest

from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.collapse import CollapseDetector, CollapseLimits
from stellarfm.pretraining.recipe import load_recipe

HEALTHY = {"loss": 8.0, "dino": 5.9, "rank": 10.0, "spread": 0.9}
STUCK = {"loss": 8.0, "dino": 6.3, "rank": 3.0, "spread": 0.7}
COLLAPSED = {"loss": 8.0, "dino": 5.0, "rank": 1.1, "spread": 0.3}
POINT = {"loss": 8.0, "dino": 5.0, "rank": 20.0, "spread": 1e-4}


def guard(*, images=32, prototypes=512, **limits):
    return CollapseDetector(
        CollapseLimits(**{"settled": 100, "patience": 50, **limits}),
        steps=1000,
        warmup_steps=10,
        images=images,
        prototypes=prototypes,
    )


def stopped_at(guard, values, *, every=10):
    """Step at which a run whose log always says `values` is given up, and why."""
    for step in range(every, 1001, every):
        try:
            guard.check(values, step=step)
        except PretrainingError as error:
            return step, str(error)
    return None, ""


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (STUCK, "nothing is learned: the DINO loss 6.30 is stuck at ln K = 6.24 .* rank 3 .*raise learning_rate"),
        (COLLAPSED, "collapse: the features have effective rank 1.1 .*koleo_weight"),
        (POINT, "collapse: .* spread 0.0001"),
    ],
)
def test_hopeless_runs_are_stopped_after_the_patience(values, words):
    step, message = stopped_at(guard(), values)
    assert step == 160  # first judged at 110, and given 50 steps
    assert pytest.RaisesExc(PretrainingError, match=words).matches(PretrainingError(message))


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (HEALTHY, {}),
        ({**STUCK, "rank": 8.0}, {}),  # ln K is where many prototypes begin
        ({**STUCK, "dino": 5.9}, {}),
        ({"loss": 3.0}, {}),
        (STUCK, {"stuck_rank": 0.0}),
        (STUCK, {"prototypes": None}),
        (COLLAPSED, {"rank": 0}),
        (POINT, {"spread": 0}),
        (COLLAPSED, {"images": 4}),
    ],
)
def test_other_runs_go_on(values, options):
    assert stopped_at(guard(**options), values) == (None, "")


def test_the_run_of_the_bundled_encoder_is_never_under_suspicion():
    recipe = load_recipe("tiny8-64")
    with (Path(__file__).parents[2] / "benchmarks/results/pretraining-tiny8-64.csv").open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert rows[-1]["step"] > 4000
    watching = CollapseDetector(
        CollapseLimits(settled=0),
        steps=recipe.steps,
        warmup_steps=recipe.warmup_steps,
        images=recipe.batch_size,
        prototypes=recipe.method["prototypes"],
    )
    for row in rows:
        watching.check(row, step=int(row["step"]))
        assert watching.since is None or row["step"] < 100
    collapsed = [{**row, "rank": 1.0} for row in rows]
    with pytest.raises(PretrainingError, match="collapse"):
        for row in collapsed:
            watching.check(row, step=int(row["step"]))


def test_one_odd_line_is_forgiven():
    watching = guard(patience=0)
    for step in range(10, 1001, 10):
        watching.check(COLLAPSED if step % 200 == 0 else HEALTHY, step=step)


def test_a_recovery_resets_the_patience():
    watching = guard(patience=200)
    assert stopped_at(guard(patience=200), COLLAPSED)[0] == 310
    for step in range(10, 2001, 10):
        watching.check(COLLAPSED if step % 300 < 150 else HEALTHY, step=step)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_named_at_once(bad):
    with pytest.raises(PretrainingError, match=r"step 1: ibot, gradient is not finite; .*learning_rate"):
        guard().check({**HEALTHY, "ibot": bad, "gradient": bad}, step=1)


def test_defaults_follow_the_length_of_a_run():
    short, long = (CollapseDetector(CollapseLimits(), steps=n, warmup_steps=50, images=32) for n in (400, 10**6))
    assert (short.grace_steps, short.patience) == (50, 20)
    assert (long.grace_steps, long.patience) == (1000, 1000)


def test_a_resumed_guard_stops_at_the_same_step():
    whole, first, second = guard(), guard(), guard()
    for step in range(10, 131, 10):
        first.check(STUCK, step=step)
    second.load_state_dict(first.state_dict())
    for step in (140, 150):
        second.check(STUCK, step=step)
    with pytest.raises(PretrainingError, match="step 160"):
        second.check(STUCK, step=160)
    assert stopped_at(whole, STUCK)[0] == 160


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"ranks": 2}, "unknown key monitors.ranks; expected one of rank, spread"),
        ({"rank": -1.0}, r"rank of \[monitors\] is -1.0"),
        ({"rank": None}, "rank of"),
        ({"patience": 2.5}, "patience of"),
        ({"stuck": "x"}, "stuck of"),
        ({"settled": True}, "settled of"),
        ({"spread": math.nan}, "spread of"),
    ],
)
def test_wrong_limits(table, words):
    with pytest.raises(PretrainingError, match=words):
        CollapseLimits.from_table(table)
