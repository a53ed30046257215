"""The web page, opened in a browser."""

import re
from dataclasses import replace

import pytest
from browsers import asked, chromium

for module in ("jinja2", "matplotlib"):
    pytest.importorskip(module, reason='pip install "portable-nn[plot]"')


@pytest.fixture(scope="module")
def page(comparison, images, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "comparison.html"
    from portable_nn.report.page import html

    path.write_text(html(comparison, images), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(page, tmp_path_factory):
    """Chromium with the page open."""
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        browser.get("about:blank")
        browser.get_log("performance")
        browser.get(page.as_uri())
        yield browser


def column(browser, i):
    rows = "[...document.querySelectorAll('table.sortable tbody tr')]"
    return browser.execute_script(f"return {rows}.map(row => row.cells[{i}].innerText)")


def heading(browser, text):
    """The number of the column with that heading, and its button."""
    buttons = browser.find_elements("css selector", "table.sortable thead button")
    return next((i, button) for i, button in enumerate(buttons) if button.text.split() == text.split())


def test_nothing_is_asked_of_the_network(browser, page):
    assert {url for url in asked(browser) if not url.startswith("data:")} == {page.as_uri()}


def test_no_complaint_on_the_console(browser):
    assert browser.get_log("browser") == []


def test_a_name_stays_text(browser):
    assert browser.find_element("tag name", "h1").text.startswith("<script>alert(1)</script>")
    assert len(browser.find_elements("tag name", "script")) == 1


def test_the_policy_admits_nothing_but_the_pages_own_code(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page.read_text(encoding="utf-8"))[1]
    directives = dict(directive.split(maxsplit=1) for directive in policy.replace("&#39;", "'").split("; "))
    assert directives["default-src"] == "'none'"
    assert re.fullmatch(r"'sha256-[\w+/]+='", directives["script-src"])
    assert re.fullmatch(r"'sha256-[\w+/]+='", directives["style-src"])


def test_code_that_is_not_the_pages_own_does_not_run(browser):
    browser.execute_script(
        "const script = document.createElement('script');"
        "script.textContent = 'window.intruded = true'; document.body.append(script); script.remove()"
    )
    assert browser.execute_script("return window.intruded") is None
    assert "Content Security Policy" in browser.get_log("browser")[0]["message"]


@pytest.mark.parametrize("key", [None, "\ue007", " "], ids=["click", "enter", "space"])
def test_sorting_by_numbers(browser, comparison, key):
    browser.refresh()
    i, button = heading(browser, "max error")
    press = button.click if key is None else lambda: button.send_keys(key)
    press()
    expected = sorted(row.parity.max_abs_error for row in comparison.rows if row.parity)
    assert column(browser, i) == [*(f"{error:.1e}" for error in expected), ""]
    press()
    assert column(browser, i) == [*(f"{error:.1e}" for error in reversed(expected)), ""]
    assert browser.execute_script("return arguments[0].parentElement.ariaSort", button) == "descending"


def test_sorting_by_words(browser, comparison):
    i, button = heading(browser, "backend")
    button.click()
    assert column(browser, i) == sorted(row.backend for row in comparison.rows)


def test_each_picture_is_drawn_and_told_in_words(browser):
    pictures = browser.execute_script("return [...document.images].map(i => [i.complete, i.naturalWidth, i.alt])")
    assert len(pictures) >= 4
    assert all(complete and width > 0 and len(alternative) > 5 for complete, width, alternative in pictures)


def test_digits_that_a_backend_disagrees_on_are_shown(browser, comparison):
    noisy = comparison.rows[2]
    shown = browser.find_elements("css selector", ".digits li")
    assert len(shown) >= len(noisy.labels.disagreements) > 0
    first = noisy.labels.disagreements[0]
    assert f"Sample {first.index}, a {first.truth}" == shown[0].find_element("tag name", "img").get_attribute(
        "alt"
    )
    assert f"read as {first.label}" in shown[0].text


def test_labels_are_names_of_classes(comparison, images):
    from portable_nn.report.page import html

    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    page = html(replace(comparison, classes=names), images)
    first = comparison.rows[2].labels.disagreements[0]
    assert f"read as <b>{names[first.label]}</b>" in page
    assert f"NumPy: <b>{names[first.expected]}</b>" in page
    assert f"Sample {first.index}, a {names[first.truth]}" in page
    assert re.search(f"most often confused: ({'|'.join(names)}) read as ({'|'.join(names)})", page)


def test_digits_are_found_along_any_leading_axes(comparison, images):
    from portable_nn.report.page import html

    def digits(images):
        return re.findall(r'<img src="(data:image/png[^"]+)"', html(comparison, images))

    found = digits(images)
    assert len(found) == sum(len(row.labels.disagreements) for row in comparison.rows[2:4])
    assert digits(images.reshape(25, 20, 28, 28)) == found


def test_what_is_not_there_is_left_out(comparison, images):
    """A picture of nothing, digits of samples that are no squares, a load that the system does not tell."""
    from portable_nn.report.page import html

    whole = html(comparison, images)
    assert 'src="data:image/svg+xml' in whole
    assert "load before" in whole
    crashed = replace(
        comparison, rows=comparison.rows[4:], environment=replace(comparison.environment, load=None)
    )
    page = html(crashed, images)
    assert "SIGABRT" in page
    assert 'src="data:image/svg+xml' not in page
    assert "load before" not in page
    oblong = html(comparison, images[:, :700])
    assert oblong.count("read as <b>") == whole.count("read as <b>") > 0
    assert "data:image/png" in whole
    assert "data:image/png" not in oblong


def test_a_phone_scrolls_tables_not_the_page(browser):
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    browser.refresh()
    try:
        wide = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > 390)"
        outside = f"{wide}.filter(e => !e.closest('.scroll')).map(e => e.outerHTML.slice(0, 80))"
        assert browser.execute_script(f"return {outside}") == []
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_colour_scheme(browser, scheme):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", colour)[:3]))
    assert brightness > 600 if scheme == "light" else brightness < 150
