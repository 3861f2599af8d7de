"""The page in a real browser, against a service that wants keys."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Locator, Page, Request, expect

from tests.e2e.browser import Watch, chromium
from tests.e2e.keyed import keyed_service
from tests.fakes import COLOURS
from tests.keys import entry
from tests.pictures import encoded

pytestmark = pytest.mark.e2e

READER, WRITER, SLOW = "cms_reader", "cms_writer", "cms_slow"
COUNT_BLOBS = """
  window.blobs = { made: 0, live: new Set() };
  const { createObjectURL, revokeObjectURL } = URL;
  URL.createObjectURL = (blob) => {
    const url = createObjectURL.call(URL, blob);
    window.blobs.made += 1;
    window.blobs.live.add(url);
    return url;
  };
  URL.revokeObjectURL = (url) => { window.blobs.live.delete(url); revokeObjectURL.call(URL, url); };
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with three pictures."""
    folder: Path = tmp_path_factory.mktemp("keyed")
    keys = (
        entry(READER, name="reader"),
        entry(WRITER, name="writer", scopes=["read", "write"]),
        entry(SLOW, name="slow", rate=2, burst=40),
    )
    with keyed_service(folder, *keys) as address:
        items = [
            {
                "image": base64.b64encode(encoded(Image.new("RGB", (64, 64), COLOURS[name]), "PNG")).decode(),
                "id": name,
                "metadata": {"caption": f"a {name} thing"},
            }
            for name in ("red", "green", "blue")
        ]
        answer = call(address, "/index/images", WRITER, {"items": items})
        assert answer.json()["indexed"] == 3, answer.text
        yield address


@pytest.fixture(scope="module")
def context(url: str) -> Iterator[BrowserContext]:
    with chromium() as browser:
        opened = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=url)
        opened.set_default_timeout(15_000)
        opened.add_init_script(COUNT_BLOBS)
        yield opened


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    # A page of its own has a session storage of its own.
    opened = context.new_page()
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def watch(page: Page, url: str) -> Iterator[Watch]:
    seen = Watch(page, url)
    # Chromium reports refused requests; the page is to say them in words.
    for status in (401, 403, 429):
        seen.allow(f"the server responded with a status of {status}")
    yield seen
    assert seen.faults == []


def call(url: str, path: str, key: str, body: object) -> httpx.Response:
    return httpx.post(url + path, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=20)


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog", name="A key is needed")


def enter(page: Page, key: str) -> None:
    page.goto("/ui/")
    dialog(page).get_by_label("Key", exact=True).fill(key)
    page.keyboard.press("Enter")
    expect(dialog(page)).to_be_hidden()
    expect(page.locator("button.card-picture")).to_have_count(3)


def expect_drawn(page: Page, number: int) -> None:
    pictures = page.locator(".card img")
    expect(pictures).to_have_count(number)
    for place in range(number):
        expect(pictures.nth(place)).not_to_have_js_property("naturalWidth", 0, timeout=30_000)


def stored_key(page: Page) -> object:
    return page.evaluate("sessionStorage.getItem('crossmodal.key')")


def test_a_key_is_asked_for_kept_for_the_tab_sent_with_everything_and_forgotten(page: Page, url: str) -> None:
    page.goto("/ui/")
    asking = dialog(page)
    expect(asking).to_be_visible()
    field = asking.get_by_label("Key", exact=True)
    expect(field).to_be_focused()
    expect(asking).to_have_accessible_description(re.compile("hold a key"))
    field.fill("no key at all")
    page.keyboard.press("Enter")
    expect(asking.get_by_role("alert")).to_contain_text("That is no key")
    field.fill("cms_unknown")
    page.keyboard.press("Enter")
    expect(asking.get_by_role("alert")).to_contain_text("not known")
    expect(field).to_have_value("")
    assert stored_key(page) is None

    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))  # noqa: PLW0108  playwright marks its handlers
    field.fill(READER)
    asking.get_by_role("button", name="Use this key").click()
    expect(asking).to_be_hidden()
    expect(page.locator("#count-images")).to_have_text("3")
    expect_drawn(page, 3)
    sources = page.locator(".card img").evaluate_all("pictures => pictures.map((picture) => picture.src)")
    assert all(source.startswith("blob:") for source in sources)
    assert page.evaluate("[window.blobs.made, window.blobs.live.size]") == [3, 0]
    to_service = [request for request in asked if request.url.startswith(url)]
    assert {request.url.removeprefix(url).partition("?")[0] for request in to_service} == {
        "/stats",
        "/items/image",
        *(f"/images/{name}/thumbnail" for name in ("red", "green", "blue")),
    }
    assert {request.header_value("authorization") for request in to_service} == {f"Bearer {READER}"}
    assert READER not in page.url + page.evaluate("JSON.stringify([localStorage, document.cookie])")

    page.reload()
    expect_drawn(page, 3)
    expect(dialog(page)).to_be_hidden()
    page.locator("button.card-picture").first.click()
    expect(page.locator("#detail img")).not_to_have_js_property("naturalWidth", 0, timeout=30_000)
    page.keyboard.press("Escape")

    page.get_by_role("button", name="Forget the key").click()
    expect(page.get_by_role("alert")).to_contain_text("A key is needed")
    expect(page.locator(".card")).to_have_count(0)
    expect(page.locator("#count-images")).to_have_text("\u2013")
    expect(page.get_by_role("button", name="Forget the key")).to_be_hidden()
    expect(dialog(page)).to_be_hidden()
    assert stored_key(page) is None
    page.get_by_role("button", name="Enter a key").click()
    dialog(page).get_by_label("Key", exact=True).fill(READER)
    page.keyboard.press("Enter")
    expect_drawn(page, 3)


def test_whoever_gives_no_key_is_asked_again_only_on_request(page: Page) -> None:
    page.goto("/ui/")
    expect(dialog(page)).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog(page)).to_be_hidden()
    page.get_by_role("searchbox").fill("red")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("A key is needed")
    expect(dialog(page)).to_be_hidden()
    page.get_by_role("button", name="Enter a key").click()
    expect(dialog(page)).to_be_visible()
    dialog(page).get_by_role("button", name="Not now").click()
    expect(dialog(page)).to_be_hidden()


def test_what_a_key_may_not_do_is_said_in_words(page: Page, url: str) -> None:
    enter(page, READER)
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_label("One per line").fill("a line")
    page.get_by_role("button", name="Add texts").click()
    expect(page.get_by_role("list", name="Texts that failed")).to_contain_text("it would need the scope 'write'")
    expect(page.get_by_label("One per line")).to_have_value("a line")
    page.keyboard.press("Escape")

    page.locator("button.card-picture").first.click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("alert").filter(has_text="scope 'write'")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog(page)).to_be_hidden()
    assert httpx.get(f"{url}/stats", headers={"Authorization": f"Bearer {READER}"}).json()["images_indexed"] == 3

    page.get_by_role("button", name="Forget the key").click()
    page.get_by_role("button", name="Enter a key").click()
    dialog(page).get_by_label("Key", exact=True).fill(WRITER)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("button", name="Add texts").click()
    expect(page.locator("#add-texts-outcome")).to_have_text("1 indexed, 0 unchanged, 0 failed")


def test_a_key_that_has_used_up_its_share_waits_and_goes_on(page: Page, url: str) -> None:
    enter(page, SLOW)
    expect_drawn(page, 3)
    # At most 40 units are there: that is at least 21 in debt, and at 2 a second over 10 s until the next request.
    assert call(url, "/embed/texts", SLOW, {"texts": ["a"] * 60}).status_code == 200
    page.get_by_role("searchbox").fill("red")
    page.keyboard.press("Enter")
    error = page.get_by_role("alert")
    expect(error).to_contain_text("2 units of work a second")
    again = error.get_by_role("button", name="Try again")
    expect(again).to_be_disabled()
    expect(again).to_be_enabled(timeout=60_000)
    again.click()
    # The pictures are refused at first too, and come in as the units do.
    expect(page.locator("button.card-picture")).to_have_count(3)
    expect_drawn(page, 3)
