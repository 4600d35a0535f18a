"""How `make docs` builds the site: the pages as they are read in the repository, and the API from the docstrings."""

from importlib.metadata import version as installed

import plateau_rule
import plateau_rule.sim.testing.own_guards

for name in plateau_rule.__all__:  # loaded here: autodoc would load them as a type checker sees them
    getattr(plateau_rule, name)

project = "Plateau Rule"
author = "the founders of Plateau Rule"
version = release = installed("plateau-rule")

# Built from the top, so that a page's links to others are the same here and in the repository.
root_doc = "docs/index"
include_patterns = [
    "benchmarks/schedules/README.md",
    "docs/**.md",
    "curricula/README.md",
    "controller/verifier/README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
]
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "matplotlib.sphinxext.plot_directive",
]

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]
plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("svg", 96)]
# The adapters' docstrings are read without their frameworks.
autodoc_mock_imports = ["accelerate", "jax", "keras", "lightning", "optax", "torch", "tqdm", "transformers"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
add_module_names = False  # each stands under a heading that says where it belongs; `Controller`, not its whole path
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"Plateau Rule {version}"
html_extra_path = ["site"]  # leads from the top to docs/index.html
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_copyright = False
