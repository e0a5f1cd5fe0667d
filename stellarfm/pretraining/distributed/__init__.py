"""Training on several devices: processes, collectives, sharded random numbers and sharded weights.

A pretraining method needs the names exported here: it draws random numbers through `uniform` and `normal`, and looks
at the samples of other devices through `all_gather` and the reductions. On several devices it then learns what it
would learn on one. Start reading with `random`, then `collectives`; `devices`, `process` and `sharding` serve the
training loop.
"""

from stellarfm.pretraining.distributed.collectives import (
    all_gather,
    all_reduce_mean,
    all_reduce_sum,
    rank_and_world_size,
)
from stellarfm.pretraining.distributed.random import ShardedGenerator, n_devices, normal, own_share, uniform

__all__ = [
    "ShardedGenerator",
    "all_gather",
    "all_reduce_mean",
    "all_reduce_sum",
    "n_devices",
    "normal",
    "own_share",
    "rank_and_world_size",
    "uniform",
]
