"""The report in a real browser: opened from a file, clicked, played."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from modist_det.analysis.report import write_report
from modist_det.formats.ava.files import read_ava_boxes, write_detections

_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1300,900",
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium is not installed (pip install selenium)"
    )
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in programs:
        pytest.skip(
            "no browser: chromium and chromedriver are not both installed (apt-get install chromium-driver)"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for option in (*_OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    yield made
    made.quit()


@pytest.fixture(scope="module")
def report(tiny_puppets, tmp_path_factory):
    """Path of a report of detections of which some are wrong, and its data."""
    folder = tmp_path_factory.mktemp("report")
    truth = read_ava_boxes(tiny_puppets / "train.csv")
    # Every box with an action of others, two of three with their own, too; scores are random.
    own = np.flatnonzero(np.arange(len(truth)) % 3)
    rows = np.concatenate([own, np.arange(len(truth))])
    occurring = np.unique(truth.action)
    others = np.roll(occurring, 1)[np.searchsorted(occurring, truth.action)]
    columns = ("video", "second", "boxes", "person", "line")
    table = dataclasses.replace(
        truth,
        action=np.concatenate([truth.action[own], others]),
        score=np.random.default_rng(0).uniform(0.2, 0.9, len(rows)).round(3),
        **{name: getattr(truth, name)[rows] for name in columns},
    )
    write_detections(folder / "d.csv", table)
    write_report(
        str(tiny_puppets / "train.yaml"),
        folder / "d.csv",
        folder / "report.html",
        num_clips=3,
        num_keyframes=150,
    )
    page = (folder / "report.html").read_text()
    return folder / "report.html", json.loads(
        re.search(r'id="report-data">(.*?)</script>', page, re.DOTALL)[1]
    )


@pytest.fixture
def page(driver, report):
    """The opened page; at the end of the test nothing must have been complained of or loaded from elsewhere."""
    driver.get(f"file://{report[0]}")
    yield driver
    loaded = driver.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert [name for name in loaded if not name.startswith("data:")] == []
    assert driver.get_log("browser") == []


def find(page, selector):
    return page.find_elements("css selector", selector)


def one(page, selector):
    (element,) = find(page, selector)
    return element


def click(page, selector):
    element = one(page, selector)
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def choose(page, select_id, value):
    """As a person chooses an option of a list."""
    from selenium.webdriver.support.ui import Select

    Select(one(page, f"#{select_id}")).select_by_value(str(value))


def set_lowest_score(page, value):
    page.execute_script(
        "const s = document.getElementById('min-score'); s.value = arguments[0];"
        "s.dispatchEvent(new Event('input')); s.dispatchEvent(new Event('change'));",
        value,
    )


def wait_for(page, script):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(page, 20).until(lambda _: page.execute_script(f"return {script}"))


def test_header(page, report):
    content = report[1]
    assert page.title == f"puppets_train: mAP {content['summary']['mAP']:.4f}"
    figures = {dt.text: dd.text for dt, dd in zip(find(page, "dt"), find(page, "dd"), strict=True)}
    ends = content["summary"]["intervals"].get("mAP at IoU 0.5 (official)")
    interval = f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
    assert figures["mAP at IoU 0.5 (official)"] == f"{content['summary']['mAP']:.4f}{interval}"
    assert figures["annotated actions"] == str(content["summary"]["num_groundtruth"])


def names_in_table(page):
    return [cell.text for cell in find(page, "#class-table tbody td:nth-child(3)")]


def test_table_sorts_by_any_column(page, report):
    classes = report[1]["classes"]
    known = sorted((c for c in classes if c["AP"] is not None), key=lambda c: (-c["AP"], c["id"]))
    unknown = [c["name"] for c in classes if c["AP"] is None]
    assert unknown and names_in_table(page) == [c["name"] for c in known]
    click(page, "#unlabelled")
    assert names_in_table(page) == [c["name"] for c in known] + unknown
    heading = one(page, 'th[data-key="AP"]')
    assert heading.get_attribute("aria-sort") == "descending"

    click(page, 'th[data-key="AP"] button')
    lowest_first = sorted(known, key=lambda c: (c["AP"], c["id"]))
    assert names_in_table(page) == [c["name"] for c in lowest_first] + unknown
    assert one(page, 'th[data-key="AP"]').get_attribute("aria-sort") == "ascending"

    click(page, 'th[data-key="name"] button')
    assert names_in_table(page) == sorted(c["name"] for c in classes)
    assert heading.get_attribute("aria-sort") == "none"
    click(page, 'th[data-key="num_groundtruth"] button')
    counts = [int(cell.text) for cell in find(page, "#class-table tbody td:nth-child(6)")]
    assert counts == sorted((c["num_groundtruth"] for c in classes), reverse=True)


def test_classes_are_found_by_name(page, report):
    known = [c["name"] for c in report[1]["classes"] if c["num_groundtruth"]]
    wanted = known[0]
    one(page, "#find-class").send_keys(wanted.upper())
    assert sorted(names_in_table(page)) == sorted(name for name in known if wanted in name)
    assert one(page, "#class-count").text.startswith(f"{len(names_in_table(page))} of ")


def test_intervals_are_drawn_in_the_bars(page, report):
    """Measured on the screen, in the scale of the bar of AP."""
    with_interval = {c["name"]: c for c in report[1]["classes"] if c["interval"]}
    assert with_interval
    for row in find(page, "#class-table tbody tr"):
        cells = row.find_elements("css selector", "td")
        if (facts := with_interval.pop(cells[2].text, None)) is None:
            continue
        (cell,) = row.find_elements("css selector", "td.interval")
        left, width, bar, room = page.execute_script(
            """const at = (part) => getComputedStyle(arguments[0], part);
            return [at("::after").left, at("::after").width, at("::before").width].map(parseFloat)
              .concat(7 * parseFloat(getComputedStyle(document.documentElement).fontSize));""",
            cell,
        )
        low, high = facts["interval"]
        shown = [left / room, (left + width) / room, bar / room]
        np.testing.assert_allclose(shown, [low, high, facts["AP"]], atol=0.01)
    assert not with_interval


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(page, scheme):
    """Contrast of at least 4.5, as WCAG 2.1 asks."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        back, *inks = page.execute_script(
            """const color = (selector, name) => getComputedStyle(document.querySelector(selector))[name];
            return [color("body", "backgroundColor"), color("body", "color"), color("dt", "color"),
                    color(".truth-key", "color"), color(".detection-key", "color")];"""
        )
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert (luminance(back) < 0.1) == (scheme == "dark")
    for ink in inks:
        low, high = sorted([luminance(ink), luminance(back)])
        assert (high + 0.05) / (low + 0.05) >= 4.5, ink


def luminance(color):
    """Relative luminance of "rgb(r, g, b)", as WCAG 2.1 defines it."""
    channels = np.array([int(value) for value in re.findall(r"\d+", color)[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_curves_follow_the_ticks(page, report):
    drawn = [c for c in report[1]["classes"] if c["AP"] is not None]
    assert len(find(page, "#curve-plot .curve")) == len(drawn) == len(find(page, "#curve-legend li"))
    first = names_in_table(page)[0]
    click(page, "#class-table tbody tr:first-child input")
    assert len(find(page, "#curve-plot .curve")) == len(drawn) - 1
    assert not any(item.text.startswith(f"{first}:") for item in find(page, "#curve-legend li"))
    click(page, "#curves-none")
    assert find(page, "#curve-plot .curve") == []
    click(page, "#curves-all")
    assert len(find(page, "#curve-plot .curve")) == len(drawn)
    # A class that is found wholly at precision 1 runs along the top to the right edge.
    perfect = [c["name"] for c in drawn if c["AP"] == 1.0]
    titles = [curve.find_element("css selector", "title") for curve in find(page, "#curve-plot .curve")]
    for title in titles:
        if title.get_attribute("textContent").split(":")[0] in perfect:
            box = page.execute_script("return arguments[0].parentNode.getBBox()", title)
            assert (box["y"], round(box["width"])) == (12, 456)


def boxes_on_stage(page, kind):
    """x1, y1, x2, y2 in [0, 1] of the drawn boxes, measured on the screen."""
    return page.execute_script(
        """
        const frame = document.querySelector("#stage img").getBoundingClientRect();
        return [...document.querySelectorAll(`#stage rect.${arguments[0]}`)].map((rect) => {
          const box = rect.getBoundingClientRect();
          return [(box.left - frame.left) / frame.width, (box.top - frame.top) / frame.height,
                  (box.right - frame.left) / frame.width, (box.bottom - frame.top) / frame.height];
        });""",
        kind,
    )


def test_browser_shows_the_boxes_of_a_keyframe(page, report):
    keyframes = report[1]["keyframes"]
    number = max(range(len(keyframes)), key=lambda n: len(keyframes[n]["truth"]))
    keyframe = keyframes[number]
    set_lowest_score(page, 0)
    choose(page, "keyframe-list", number)
    wait_for(page, 'document.querySelector("#stage img").naturalWidth === 64')
    # Lines have a width; boxes are compared to one percent.
    np.testing.assert_allclose(
        boxes_on_stage(page, "truth"), [p["box"] for p in keyframe["truth"]], atol=0.01
    )
    np.testing.assert_allclose(
        boxes_on_stage(page, "detection"), [p["box"] for p in keyframe["people"]], atol=0.01
    )
    text = one(page, "#persons").text
    names = [report[1]["classes"][a]["name"] for person in keyframe["truth"] for a, _ in person["actions"]]
    assert all(name in text for name in names)
    assert str(len(keyframe["truth"])) in one(page, "#stage img").get_attribute("alt")

    click(page, "#show-truth")
    assert boxes_on_stage(page, "truth") == [] and boxes_on_stage(page, "detection") != []
    click(page, "#show-detections")
    assert boxes_on_stage(page, "detection") == []
    click(page, "#show-detections")
    best = max(score for person in keyframe["people"] for _, score, _ in person["actions"])
    best = np.floor(best * 100) / 100  # the slider's steps
    set_lowest_score(page, best)
    reached = [p for p in keyframe["people"] if any(score >= best for _, score, _ in p["actions"])]
    assert len(boxes_on_stage(page, "detection")) == len(reached) == 1


def test_walking_through_and_filtering_keyframes(page, report):
    from selenium.webdriver.common.keys import Keys

    keyframes, classes = report[1]["keyframes"], report[1]["classes"]
    total = len(keyframes)
    assert one(page, "#keyframe-count").text == f"1 of {total}"
    assert not one(page, "#previous").is_enabled()
    click(page, "#next")
    assert one(page, "#keyframe-count").text == f"2 of {total}"
    one(page, "#next").send_keys(Keys.ARROW_RIGHT)
    assert one(page, "#keyframe-count").text == f"3 of {total}"
    one(page, "#next").send_keys(Keys.ARROW_LEFT)
    click(page, "#previous")
    assert one(page, "#keyframe-count").text == f"1 of {total}"

    set_lowest_score(page, 1)
    wanted = next(c for c in range(len(classes)) if classes[c]["num_groundtruth"])
    choose(page, "filter-class", wanted)
    having = [
        n for n, k in enumerate(keyframes) if any(a == wanted for p in k["truth"] for a, _ in p["actions"])
    ]
    assert [int(o.get_attribute("value")) for o in find(page, "#keyframe-list option")] == having
    choose(page, "filter-class", "")
    one(page, "#filter-video").send_keys("TRAIN_0002")
    of_video = [n for n, k in enumerate(keyframes) if k["video"] == "train_0002"]
    assert [int(o.get_attribute("value")) for o in find(page, "#keyframe-list option")] == of_video
    one(page, "#filter-video").send_keys("nonsense")
    assert one(page, "#keyframe-count").text == "No such keyframe."
    assert find(page, "#stage img") == [] and not one(page, "#next").is_enabled()


def test_a_clip_plays(page, report):
    keyframes = report[1]["keyframes"]
    with_clip = [n for n, k in enumerate(keyframes) if k["clip"]]
    without = next(n for n, k in enumerate(keyframes) if not k["clip"])
    assert len(with_clip) == 3
    choose(page, "keyframe-list", without)
    assert not one(page, "#play").is_displayed()
    choose(page, "keyframe-list", with_clip[0])
    assert not one(page, "#clip").is_displayed()
    click(page, "#play")
    wait_for(page, "document.getElementById('clip').currentTime > 0.2")
    assert page.execute_script("return document.getElementById('clip').videoWidth") == 64
    assert one(page, "#clip").is_displayed() and not one(page, "#stage").is_displayed()
    assert one(page, "#note").text == ""
    click(page, "#play")
    assert not one(page, "#clip").is_displayed() and one(page, "#stage").is_displayed()


@pytest.mark.parametrize(
    ("cards", "select", "key"),
    [
        ("#miss-list", "misses-class", "misses"),
        ("#false-positive-list", "false-positives-class", "false_positives"),
    ],
)
def test_mistakes_lead_to_their_keyframe(page, report, cards, select, key):
    content = report[1]
    items = content[key]
    assert len(items) > 2
    more = f"#more-{select.removesuffix('-class')}"
    assert len(find(page, f"{cards} li")) == 10 < len(items)
    while one(page, more).is_displayed():
        click(page, more)
    shown = find(page, f"{cards} li")
    # One strong box, of the mistake, is on top of those of the other kind.
    kind, other = ("truth", "detection") if key == "misses" else ("detection", "truth")
    assert shown[0].find_elements("css selector", f"rect.{kind}.strong:last-child")
    assert find(page, f"{cards} rect.{other}") and not find(page, f"{cards} rect.{other}.strong")
    names = [content["classes"][item["class"]]["name"] for item in items]
    assert len(shown) == len(items) and all(
        card.text.startswith(name) for card, name in zip(shown, names, strict=True)
    )
    last = items[-1]
    one(page, "#filter-video").send_keys("nonsense")  # is cleared
    button = f"{cards} li:last-child button"
    click(page, button)
    assert one(page, "#keyframe-list").get_attribute("value") == str(last["keyframe"])
    assert page.switch_to.active_element.get_attribute("id") == "keyframe-list"

    choose(page, select, last["class"])
    assert len(find(page, f"{cards} li")) == sum(item["class"] == last["class"] for item in items)


def test_everything_can_be_named_and_reached(page):
    """Every control has an accessible name; the page keeps to its width on a phone."""
    for element in find(page, "button, select, input, video, img, svg[role=img], meter"):
        if element.is_displayed():
            assert element.accessible_name, element.get_attribute("outerHTML")
    page.set_window_size(500, 900)
    overflow = page.execute_script("return document.documentElement.scrollWidth - innerWidth")
    page.set_window_size(1300, 900)
    assert overflow <= 0
