"""Callbacks of the training loop: log, checkpoints, collapse, probe and validation.

Each acts between the steps of a run and writes files into its output folder. `step_callback` holds the base class of
those that act every N steps; `stellarfm.pretraining.training` puts them together.
"""
