"""How Sphinx builds the site: sphinx-build -W --keep-going docs docs/_build/html, with the extra `docs`.

Pages whose head names a kernel are notebooks: their cells run at each build, and one that fails, or that writes
to standard error, ends it. The examples of the other pages are tests, which pytest runs.
"""

import re
import sys
from pathlib import Path

import numpydoc.xref
from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml
from nbclient import NotebookClient

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import portable_nn as pnn  # noqa: E402

project = "portable_nn"
author = "The portable_nn developers"
version = release = pnn.__version__

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary"]
exclude_patterns = ["_build", "made"]
nitpicky = True

html_theme = "pydata_sphinx_theme"
html_title = "portable_nn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["made"]
html_sidebars = {page: [] for page in ("index", "start", "chapter3", "search", "genindex")}
html_context = {"default_mode": "auto"}
html_show_sourcelink = html_show_copyright = False
html_theme_options = {
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["sphinx-version"],
    "footer_end": [],
    "show_prev_next": True,
}

myst_enable_extensions = ["attrs_block", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_output_stderr = "warn"
NotebookClient.coalesce_streams = True  # in one piece: myst-nb would end each piece that comes with a new line
nb_ipywidgets_js = {}

autosummary_generate = True
templates_path = ["api/templates"]
autodoc_typehints = "none"
autodoc_default_options = {"exclude-members": "set_score_request"}  # scikit-learn's, with links to its own pages
default_role = "code"
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"
NAMES = "".join(page.read_text(encoding="utf-8") for page in (HERE / "api").glob("*.md"))
CLASSES = re.findall(r"(?m)^   ([\w.]*\b[A-Z]\w*[a-z])$", NAMES)
numpydoc_xref_aliases = {name.rpartition(".")[2]: f"portable_nn.{name}" for name in CLASSES}
numpydoc.xref.DEFAULT_LINKS.clear()  # to pages of Python and NumPy, which are not here

(HERE / "made").mkdir(exist_ok=True)  # pages that cells make: those of `compare`

LINKS = {
    "../benchmarks/RESULTS-GPU.md": "benchmarks.md",
    "results.svg": "../benchmarks/results.svg",
    "README.md": "index.md",
    "SECURITY.md": "security.md",
}
"""Files of the repository that its texts name, and what they are from here."""


def relink(content):
    """Let the links of a text, alone in a list, lead to the pages of the site."""
    for path, page in LINKS.items():
        content[0] = content[0].replace(f"({path})", f"({page})")


def math(writer, node):
    """Write a formula as MathML, which browsers draw themselves."""
    block = node.tagname == "math_block"
    drawn = tex2mathml(node.astext(), as_block=block)
    writer.body.append(f'<div class="formula">{drawn}</div>' if block else drawn)
    raise SkipNode


def setup(app):
    """Register the above."""
    app.add_html_math_renderer("mathml", inline_renderers=(math, None), block_renderers=(math, None))
    for event in ("source-read", "include-read"):
        app.connect(event, lambda *arguments: relink(arguments[-1]))


html_math_renderer = "mathml"
