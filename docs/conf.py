"""How Sphinx builds the documentation: ``python3 -m nox -s docs``."""

from deconvbench import __version__

project = "deconvbench"
author = "the deconvbench authors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
# the docstrings put names in single backticks, numpy's way
default_role = "code"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

html_theme = "pydata_sphinx_theme"
html_title = f"deconvbench {release}"
# ten pages on one level: the header and the page's own contents lead everywhere
html_sidebars = {"**": []}
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False, "header_links_before_dropdown": 6}
html_static_path = ["_static"]
html_css_files = ["wide_tables.css"]
html_show_sourcelink = False
