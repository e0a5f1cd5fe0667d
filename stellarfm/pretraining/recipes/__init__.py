"""Recipes of the package, as TOML files; read them with `stellarfm.pretraining.load_recipe`."""
