"""Sphinx builds the documentation by this: `nox -s docs`."""

import importlib
import os
import sys
from importlib import metadata
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "extensions"))
ONLINE = os.environ.get("CSC_DOCS_ONLINE") == "1"  # what others' sites are asked for: their inventories, their pages

project = "CellMap Segmentation Challenge toolbox"
author = "its contributors"
release = metadata.version("csc-cli")
extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_click",
    "sphinx_copybutton",
    "generated_tables",
    *(["sphinx.ext.intersphinx"] if ONLINE else []),
]
exclude_patterns = ["images"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_block"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_cache_path = str(DOCS.parent / "build" / "docs" / "notebooks")

html_theme = "furo"
html_show_copyright = False
html_title = "CellMap toolbox"
copybutton_exclude = ".linenos, .gp, .go"

templates_path = ["templates"]
smartquotes = False  # --data is two hyphens
default_role = "py:obj"  # `name` in a docstring is a link where the name is known
autosummary_ignore_module_all = False
autosummary_imported_members = True  # of a module with __all__, its names; lazy ones do not look like its own
# What a package itself names is documented there; its modules only tell that.
PACKAGES = ("csc_data", "csc_models", "csc_train", "csc_eval", "csc_submit", "csc_cli")
autosummary_context = {"names_of": {name: set(importlib.import_module(name).__all__) for name in PACKAGES}}
autodoc_typehints = "none"  # numpydoc's sections say them in words
numpydoc_show_class_members = False

linkcheck_ignore = [r"http://(localhost|127\.0\.0\.1)", r"tcp://"]
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", None),
    "numpy": ("https://numpy.org/doc/stable", None),
    "torch": ("https://docs.pytorch.org/docs/stable", None),
    "zarr": ("https://zarr.readthedocs.io/en/stable", None),
}
