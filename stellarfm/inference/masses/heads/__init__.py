"""Heads: feature vectors to log mass and to weights of the reference windows (entry-point group ``stellarfm.heads``).

Start with `stellarfm.contracts.MassHead`. Fitted heads are arrays (`to_arrays`, `from_arrays`): nothing is pickled, and
nothing is fitted again when a model is loaded.
"""
