"""Configuration of Sphinx. Warnings are errors (``sphinx-build -W``)."""

import os
import sys
from pathlib import Path

import stellarfm

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
os.environ["COLUMNS"] = "100"  # width of the help texts in the command reference

project = "stellarfm"
author = "The stellarfm developers"
copyright = "2026, the stellarfm developers"
version = release = stellarfm.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "architecture",
    "generated",
    "fractal_figures",
]
exclude_patterns = ["_build", "_templates", "_ext", "changes/*"]
templates_path = ["_templates"]
default_role = "literal"

autodoc_typehints = "none"
autodoc_member_order = "bysource"
# scikit-learn adds these to every estimator, with references into its own documentation
autodoc_default_options = {"exclude-members": "set_fit_request, set_score_request, set_predict_request"}
autosummary_generate = True
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = f"stellarfm {release}"
html_theme_options = {"navigation_with_keys": False, "show_prev_next": False, "secondary_sidebar_items": ["page-toc"]}
html_show_sourcelink = False
