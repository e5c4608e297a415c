"""The page in a browser, as a person uses it."""

import base64

import pytest

from tests.browser import Browser, find_browser

DROP = """(() => {
  const bytes = Uint8Array.from(atob('%s'), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], '%s'));
  document.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true}));
})()"""
NAMES = "[...document.querySelectorAll('#classes .name')].map((part) => part.textContent)"
IS_SHOWN = "!document.getElementById('%s').hidden"


@pytest.fixture(scope="module")
def browser():
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium is installed here")
    with Browser(program) as opened:
        yield opened


def drop(browser, content, name):
    browser.run(DROP % (base64.b64encode(content).decode(), name))


@pytest.mark.slow
def test_the_last_photo_is_shown_whichever_is_answered_first(browser, service, photos):
    browser.look(f"http://127.0.0.1:{service.port}/")
    browser.run(
        "window.at_once = fetch; window.wait = 500; window.fetch = async (...words) => {"
        "  const ms = window.wait; window.wait = 0; window.answered = 0;"
        "  await new Promise((go) => setTimeout(go, ms));"
        "  const answer = await window.at_once(...words); window.answered++; return answer; }"
    )
    drop(browser, photos[0], "first.png")
    drop(browser, photos[1], "second.jpg")
    browser.wait_for("window.answered === 2")
    browser.wait_for("document.getElementById('caption').textContent === 'second.jpg'")
    assert browser.complaints == []


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1280])
def test_a_person_drops_a_photo(browser, service, photos, tmp_path, width, dark):
    browser.look(f"http://127.0.0.1:{service.port}/", width=width, dark=dark)
    browser.wait_for("document.getElementById('model').textContent.includes('6 classes')")
    drop(browser, photos[0], "a.png")
    browser.wait_for(IS_SHOWN % "results")
    expected = service.post("/predict", photos[0])[1]["predictions"]
    assert browser.run(NAMES) == [entry["class"] for entry in expected]
    bar = "document.querySelector('#classes .bar').style.width"
    assert float(browser.run(bar).rstrip("%")) == pytest.approx(
        100 * expected[0]["probability"], abs=0.051
    )
    browser.wait_for("document.getElementById('shown').naturalWidth === 30")
    browser.run("document.querySelectorAll('#classes button')[1].click()")
    browser.wait_for("document.getElementById('shown').naturalWidth === 224")
    assert expected[1]["class"] in browser.run("document.getElementById('caption').textContent")
    assert browser.run("document.documentElement.scrollWidth") == width
    ground = browser.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")
    (tmp_path / "b.webp").write_bytes(photos[3])
    browser.choose_file("#file", tmp_path / "b.webp")
    browser.wait_for("document.getElementById('caption').textContent === 'b.webp'")
    assert browser.complaints == []
    drop(browser, b"no photo", "c.txt")
    browser.wait_for(IS_SHOWN % "message")
    message = browser.run("document.getElementById('message').textContent")
    assert message.startswith("this is not an image")
    assert not browser.run(IS_SHOWN % "results")
    assert all("415" in complaint for complaint in browser.complaints)
    browser.complaints.clear()
