"""The site: what its pages name is there; and, where it was built, the pages in a browser.

`.ci/run` builds it, and sets PORTABLE_NN_SITE to the folder of the pages, PORTABLE_NN_AXE to axe-core's file.
"""

import os
import re
from html import unescape
from importlib import import_module
from pathlib import Path

import pytest
from browsers import asked, chromium

import portable_nn as pnn

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

DOCUMENTED = (
    "portable_nn",
    "portable_nn.activations",
    "portable_nn.backends",
    "portable_nn.comparison",
    "portable_nn.datasets",
    "portable_nn.report",
)
"""Modules whose public names the API must have."""

RECORDS = ("comparison.environment", "comparison.records", "evaluation", "explanation", "metrics", "verification")
"""Modules whose records it must have."""

PAGES = sorted(path.stem for path in DOCS.glob("*.md"))


def named():
    """The names on the pages of the API, from the package on."""
    pages = "".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    return {f"portable_nn.{name}" for name in re.findall(r"^   ([\w.]+)$", pages, re.MULTILINE)}


def public():
    """What is public, from the package on."""
    for module in map(import_module, DOCUMENTED):
        yield from (f"{module.__name__}.{name}" for name in module.__all__)
    for room in RECORDS:
        module = import_module(f"portable_nn.{room}")
        yield from (
            f"{module.__name__}.{name}" for name in module.__all__ if isinstance(vars(module)[name], type)
        )


def value(name):
    """What a name names."""
    module, _, last = name.rpartition(".")
    return getattr(import_module(module), last)


def test_the_api_has_every_public_name():
    there = named()
    values = [value(name) for name in there]
    missing = {name for name in public() if not any(value(name) is other for other in values)}
    modules_and_a_type = {"activations", "backends", "backends.Forward", "datasets"}
    assert missing == {f"portable_nn.{name}" for name in modules_and_a_type}


def test_every_page_is_reached():
    reached = {
        line
        for path in DOCS.glob("*.md")
        for block in re.findall(r"```{toctree}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
        for line in block.split()
    }
    assert reached - {":hidden:", "api/index"} == {*PAGES} - {"index"}


@pytest.fixture(scope="module")
def site():
    folder = os.environ.get("PORTABLE_NN_SITE")
    if not folder:
        pytest.skip("the built site: sphinx-build -W docs SITE, and set PORTABLE_NN_SITE to that folder")
    return Path(folder).resolve()


@pytest.fixture(scope="module")
def browser(site, tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        browser.set_script_timeout(300)
        yield browser


@pytest.fixture(params=["light", "dark"])
def theme(request, site, browser):
    """The colours of the pages that are opened next."""
    browser.get((site / "index.html").as_uri())
    browser.execute_script("localStorage.mode = localStorage.theme = arguments[0]", request.param)
    prefers = [{"name": "prefers-color-scheme", "value": request.param}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": prefers})
    return request.param


CHECKED = [*PAGES, "api/index", "api/networks", "api/generated/portable_nn.Network", "search", "comparison"]

LEFT_OUT = ["empty-table-header"]
"""A rule of axe-core of minor impact: the corner above the names of rows, which Markdown and pandas write so."""


@pytest.mark.parametrize("page", CHECKED)
def test_axe_finds_nothing_else(page, theme, site, browser):
    axe = os.environ.get("PORTABLE_NN_AXE")
    if not axe:
        pytest.skip("axe-core: npm install axe-core, and set PORTABLE_NN_AXE to its axe.min.js")
    browser.get((site / f"{page}.html").as_uri())
    browser.execute_script(Path(axe).read_text(encoding="utf-8"))
    found = browser.execute_async_script("axe.run().then(found => arguments[0](found.violations))")
    assert [
        (violation["id"], [node["html"] for node in violation["nodes"]])
        for violation in found
        if violation["id"] not in LEFT_OUT
    ] == []


@pytest.mark.parametrize("page", CHECKED)
def test_nothing_is_wider_than_a_phone_or_comes_from_elsewhere(page, site, browser):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
    )
    browser.get("about:blank")
    asked(browser), browser.get_log("browser")
    browser.get((site / f"{page}.html").as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    assert {url for url in asked(browser) if not url.startswith(("data:", site.as_uri()))} == set()
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_what_a_command_prints_is_whole(site):
    page = unescape((site / "start.html").read_text(encoding="utf-8"))
    assert f">{pnn.load('mnist').summary()}\n</pre>" in page


def test_search_works_from_a_file(site, browser):
    wait = import_module("selenium.webdriver.support.wait").WebDriverWait
    browser.get((site / "search.html").as_uri() + "?q=bfloat16")
    found = "#search-results li a[href*='numbers.html']"
    assert wait(browser, 30).until(lambda browser: browser.find_elements("css selector", found))
