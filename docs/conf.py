"""Sphinx settings. Reference pages are generated from the code: docstrings, `--help`, the hook specs."""

from importlib.metadata import version as installed_version

project = "AiAdmin"
author = "The AiAdmin authors"
version = release = installed_version("aiadmin-server")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "examples/**"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
nitpicky = False

html_theme = "furo"
html_title = "AiAdmin"
