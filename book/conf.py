"""Sphinx's settings of the book; `make book` lays the sources out and builds it."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import buarl

project, author, copyright = "buarl", "the buarl authors", "the buarl authors, MIT license"
release = buarl.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "mathml",  # formulas as MathML: no script, no font, no network
    "pictures",  # alternative texts out of the notebooks
]
exclude_patterns = ["**/solutions/*", "front.md"]
suppress_warnings = ["myst.header", "misc.highlighting_failure", "toc.not_included"]

nb_execution_mode = "off"  # what is shown is what is committed, and nbval compares that
myst_enable_extensions = ["dollarmath", "colon_fence", "html_image"]
myst_heading_anchors = 3
html_math_renderer = "latex2mathml"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"ignore-module-all": True}  # a name is told where it is defined
napoleon_google_docstring, napoleon_numpy_docstring = True, False

html_theme = "pydata_sphinx_theme"
html_title = "buarl"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_theme_options = {
    "navigation_with_keys": True,
    "show_nav_level": 1,
    "show_prev_next": True,
    "use_edit_page_button": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_context = {"default_mode": "auto"}
html_show_sourcelink = False


SECTION = re.compile(r"\s|(?:Args|Returns|Raises|Attributes|Yields):")


def _as_restructured(app, what, name, obj, options, lines):
    """Our docstrings are Markdown's dialect: one backtick is code, and a star is a star."""
    paragraphs = "\n".join(lines).split("\n\n")
    for number, paragraph in enumerate(paragraphs):
        if not paragraph.lstrip().startswith(">>>"):
            if not SECTION.match(paragraph) and "\n- " not in f"\n{paragraph}":  # names, told on
                paragraph = re.sub(r"\n +", "\n", paragraph)
            parts = re.split(r"(`[^`]+`)", paragraph)
            parts[0::2] = [re.sub(r"([*|])", r"\\\1", part) for part in parts[0::2]]
            parts[1::2] = [f"`{part}`" for part in parts[1::2]]
            paragraphs[number] = "".join(parts)
    lines[:] = "\n\n".join(paragraphs).split("\n")


def _skip(app, what, name, obj, skip, options):
    """Leave out the fields of a NamedTuple: its docstring tells them."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _as_restructured, priority=100)
    app.connect("autodoc-skip-member", _skip)
