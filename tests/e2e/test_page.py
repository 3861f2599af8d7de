"""The page at /ui/ in a real browser, against a real service with the bundled model."""

import base64
import io
import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, FilePayload, Locator, Page, Route, expect

from tests.e2e.browser import Watch, chromium
from tools.servers import Server

pytestmark = pytest.mark.e2e

BANANAS = "three bananas on a blue background"
MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
NOTICE = (
    "The bundled model understands rendered emoji scenes only. "
    "To search photographs start the service with CROSSMODAL_MODEL=ViT-B-32/laion2b_s34b_b79k."
)

LAYOUT_SHIFT = """() => new Promise((resolve) => {
  let sum = 0;
  new PerformanceObserver((list) => { for (const entry of list.getEntries()) sum += entry.value; })
    .observe({ type: "layout-shift", buffered: true });
  setTimeout(() => resolve(sum), 100);
})"""
TAKE = """([kind, at, name, encoded]) => {
  const files = new DataTransfer();
  files.items.add(new File([Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0))], name, { type: "image/png" }));
  const target = document.querySelector(at);
  const options = { bubbles: true, cancelable: true };
  if (kind === "paste") return target.dispatchEvent(new ClipboardEvent("paste", { ...options, clipboardData: files }));
  target.dispatchEvent(new DragEvent("dragenter", { ...options, dataTransfer: files }));
  const shown = !document.querySelector("#drop").hidden;
  target.dispatchEvent(new DragEvent("drop", { ...options, dataTransfer: files }));
  return shown && document.querySelector("#drop").hidden;
}"""


@pytest.fixture(scope="module")
def context(server: Server) -> Iterator[BrowserContext]:
    with chromium() as browser:
        opened = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=server.url)
        opened.set_default_timeout(8000)
        yield opened


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    opened = context.new_page()
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def watch(page: Page, server: Server) -> Iterator[Watch]:
    seen = Watch(page, server.url)
    yield seen
    assert seen.faults == []


def call(server: Server, path: str, *, method: str = "GET", body: object = None) -> Any:
    response = httpx.request(method, server.url + path, json=body, timeout=20)
    response.raise_for_status()
    return response.json() if response.content else None


def fresh_png() -> bytes:
    """A small picture like every other made here, but for sixteen pixels."""
    picture = Image.new("RGB", (48, 48), "#5b8def")
    for column, value in enumerate(uuid4().bytes):
        picture.putpixel((column, 0), (value, value, value))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def upload(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": "image/png", "buffer": content}


def add_picture(server: Server, metadata: dict[str, str]) -> str:
    image = base64.b64encode(fresh_png()).decode()
    answer = call(server, "/index/images", method="POST", body={"items": [{"image": image, "metadata": metadata}]})
    assert answer["indexed"] == 1, answer
    return str(answer["results"][0]["id"])


def find_by_caption(server: Server, caption: str) -> list[str]:
    wanted = quote(json.dumps({"caption": caption}))
    return [str(item["id"]) for item in call(server, f"/items/image?filter={wanted}")["items"]]


def counted(page: Page, kind: str) -> int:
    shown = page.locator(f"#count-{kind}")
    expect(shown).to_have_text(re.compile(r"^[\d,]+$"))
    return int(shown.inner_text().replace(",", ""))


def expect_drawn(picture: Locator) -> None:
    expect(picture).not_to_have_js_property("naturalWidth", 0)


def ask(page: Page, words: str) -> None:
    page.get_by_role("searchbox").fill(words)
    page.keyboard.press("Enter")


def cards(page: Page, kind: str = "picture") -> Locator:
    return page.locator(f"button.card-{kind}")


def test_a_description_brings_pictures_best_first(page: Page, server: Server) -> None:
    answer = call(server, "/search/text-to-image", method="POST", body={"query": BANANAS, "n_results": 24})
    page.goto("/ui/")
    ask(page, BANANAS)

    expect(page.get_by_role("heading", name=BANANAS)).to_be_visible()
    expect(cards(page)).to_have_count(len(answer["results"]))
    best = answer["results"][0]
    first = cards(page).first
    expect(first.locator(".caption")).to_have_text(best["metadata"]["caption"])
    expect(first.locator(".score")).to_contain_text(f"{best['score']:.3f}")
    expect(first.get_by_role("img")).to_have_attribute("alt", best["metadata"]["caption"])
    expect(page.locator(".card.weak")).to_have_count(sum(hit["weak_match"] for hit in answer["results"]))
    if find_by_caption(server, BANANAS):
        assert best["metadata"]["caption"] == BANANAS
    expect_drawn(page.locator(".card img").first)


def test_a_search_can_be_linked_and_gone_back_to(page: Page) -> None:
    page.goto(f"/ui/?q={quote(BANANAS)}")
    expect(page.get_by_role("searchbox")).to_have_value(BANANAS)
    expect(cards(page).first).to_be_visible()
    ask(page, "a dog to the left of a cat")
    expect(page).to_have_url(re.compile(r"\?q=a%20dog%20to%20the%20left%20of%20a%20cat$"))
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value(BANANAS)
    expect(page.get_by_role("heading", name=BANANAS)).to_be_visible()


@pytest.mark.parametrize("address", ["/ui/", "/ui/?q=a%20dog"])
def test_what_is_typed_before_the_service_answers_stays(page: Page, address: str) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/stats", hold)
    page.goto(address)
    page.get_by_role("searchbox").fill(BANANAS)
    expect(cards(page).first).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=BANANAS)).to_be_visible()
    for route in held:
        route.continue_()


def test_an_example_is_one_click(page: Page) -> None:
    page.goto("/ui/")
    page.get_by_role("group", name="Examples").get_by_role("button", name=BANANAS).click()
    expect(page).to_have_title(f"{BANANAS} · Crossmodal")
    expect(cards(page).first).to_be_visible()


def test_a_picture_brings_pictures_and_texts_but_never_itself(page: Page, server: Server) -> None:
    asked = call(server, "/items/image?limit=1")["items"][0]
    page.goto("/ui/")
    page.get_by_label("Picture to search with").set_input_files(
        upload("mine.png", httpx.get(server.url + asked["uri"]).content)
    )

    expect(page.locator(".asked-name")).to_have_text("mine.png")
    expect_drawn(page.locator(".asked-picture img").first)
    expect(cards(page).first).to_be_visible()
    expect(cards(page, "text").first).to_be_visible()
    assert asked["id"] not in cards(page).evaluate_all("cards => cards.map(card => card.dataset.id)")


def test_a_picture_can_be_dropped_or_pasted(page: Page, server: Server) -> None:
    picture = base64.b64encode(fresh_png()).decode()
    page.goto("/ui/")
    expect(cards(page).first).to_be_visible()
    page.evaluate(TAKE, ["paste", "body", "pasted.png", picture])
    expect(page.locator(".asked-name")).to_have_text("pasted.png")
    expect(cards(page, "text").first).to_be_visible()
    assert page.evaluate(TAKE, ["drop", "[data-drop=search]", "dropped.png", picture])
    expect(page.locator(".asked-name")).to_have_text("dropped.png")
    page.go_back()
    expect(page.locator(".asked-name")).to_have_text("pasted.png")

    name = f"dropped {uuid4().hex}.png"
    assert page.evaluate(TAKE, ["drop", "[data-drop=add]", name, picture])
    expect(page.locator("#add-progress-label")).to_have_text("Done")
    (added,) = find_by_caption(server, name)
    call(server, f"/items/image/{quote(added, safe='')}", method="DELETE")


def test_a_card_opens_whole_and_leads_on(page: Page) -> None:
    page.goto(f"/ui/?q={quote(BANANAS)}")
    cards(page).first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    expect(dialog.locator("dt", has_text=re.compile("^object$"))).to_be_visible()
    expect_drawn(page.locator("#detail img").first)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()

    asked = cards(page).first.get_attribute("data-id")
    cards(page).first.click()
    dialog.get_by_role("button", name="Similar pictures").click()
    expect(page).to_have_url(re.compile(r"\?picture="))
    expect(page.get_by_role("heading", name="Similar pictures")).to_be_visible()
    expect(cards(page).first).to_be_visible()
    assert asked not in cards(page).evaluate_all("cards => cards.map(card => card.dataset.id)")

    cards(page).first.click()
    dialog.get_by_role("button", name="Matching texts").click()
    expect(page).to_have_url(re.compile(r"show=texts$"))
    expect(page.get_by_role("heading", name="Matching texts")).to_be_focused()
    text = cards(page, "text").first
    words = text.locator(".words").inner_text()
    text.click()
    dialog.get_by_role("button", name="Pictures for this text").click()
    expect(page.get_by_role("searchbox")).to_have_value(words)


def test_pictures_are_added_with_progress_and_deleted_again(page: Page, server: Server, watch: Watch) -> None:
    # Chromium reports the answer to the request in which every file was bad.
    watch.allow("the server responded with a status of 422")
    page.goto("/ui/")
    before = counted(page, "images")
    names = [f"added {uuid4().hex} {number}.png" for number in range(10)]
    files = [upload(name, fresh_png()) for name in names]
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_label("Pictures to add").set_input_files([*files, upload("broken.png", b"\x89PNG\r\n\x1a\nno picture")])

    sheet = page.get_by_role("dialog", name="Add to the collection")
    expect(sheet.get_by_role("progressbar")).to_be_visible()
    expect(sheet.locator("#add-progress-label")).to_have_text("Done")
    expect(sheet.locator("#add-progress-figures")).to_have_text("11 of 11")
    expect(sheet.locator("#add-indexed")).to_have_text("10")
    expect(sheet.locator("#add-failed")).to_have_text("1")
    failure = sheet.get_by_role("list", name="Files that failed").get_by_role("listitem")
    expect(failure).to_have_count(1)
    expect(failure).to_contain_text("broken.png")
    assert len(failure.locator("span").inner_text()) > 10
    expect(page.locator("#count-images")).to_have_text(f"{before + 10:,}")

    page.get_by_label("Pictures to add").set_input_files(files[:3])
    expect(sheet.locator("#add-unchanged")).to_have_text("3")
    page.keyboard.press("Escape")
    expect(sheet).to_be_hidden()

    mine = {name: find_by_caption(server, name)[0] for name in names}
    page.goto(f"/ui/?picture={mine[names[0]]}")
    expect(page.locator(".asked-name")).to_have_text(names[0])
    other = page.locator(f'.card[data-id="{mine[names[1]]}"]')
    other.click()
    detail = page.get_by_role("dialog")
    detail.get_by_role("button", name="Delete").click()
    detail.get_by_role("button", name="Keep it").click()
    detail.get_by_role("button", name="Delete").click()
    detail.get_by_role("button", name="Delete it").click()
    expect(detail).to_be_hidden()
    expect(other).to_have_count(0)
    expect(page.locator("#count-images")).to_have_text(f"{before + 9:,}")
    for name in (names[0], *names[2:]):
        call(server, f"/items/image/{quote(mine[name], safe='')}", method="DELETE")


def test_texts_are_added_one_per_line(page: Page, server: Server) -> None:
    page.goto("/ui/")
    before = counted(page, "texts")
    lines = [f"a line {uuid4().hex}" for _ in range(3)]
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_label("One per line").fill("\n".join([lines[0], "", lines[1], lines[2], ""]))
    with page.expect_response("**/index/texts") as answered:
        page.get_by_role("button", name="Add texts").click()
    expect(page.locator("#add-texts-outcome")).to_have_text("3 indexed, 0 unchanged, 0 failed")
    expect(page.get_by_label("One per line")).to_have_value("")
    expect(page.locator("#count-texts")).to_have_text(f"{before + 3:,}")
    for result in answered.value.json()["results"]:
        call(server, f"/items/text/{quote(result['id'], safe='')}", method="DELETE")


def test_a_file_that_is_no_picture_says_why(page: Page, watch: Watch) -> None:
    watch.allow("the server responded with a status of 4")
    page.goto("/ui/")
    page.get_by_label("Picture to search with").set_input_files(upload("broken.png", b"\x89PNG\r\n\x1a\nno picture"))
    errors = page.get_by_role("alert")
    expect(errors).to_have_count(2)
    expect(errors.first.locator(".error-detail")).to_have_text(re.compile(r".{12,}"))
    expect(errors.first.locator(".error-id code")).to_have_text(re.compile(r"\S+"))


def test_markup_in_metadata_stays_text(page: Page, server: Server) -> None:
    asked = add_picture(server, {"caption": "the one asked with"})
    hostile = add_picture(server, {"caption": MARKUP, "note": MARKUP})
    try:
        page.goto(f"/ui/?picture={asked}")
        card = page.locator(f'.card[data-id="{hostile}"]')
        expect(card.locator(".caption")).to_have_text(MARKUP)
        card.click()
        detail = page.get_by_role("dialog")
        expect(detail.get_by_role("heading")).to_have_text(MARKUP)
        expect(detail.locator("dd", has_text=MARKUP).last).to_be_visible()
        detail.get_by_role("button", name="Similar pictures").click()
        expect(page.locator(".asked-name")).to_have_text(MARKUP)
        page.goto(f"/ui/?q={quote(MARKUP)}")
        expect(page.get_by_role("heading", name=MARKUP)).to_be_visible()
        assert page.locator("img[src=x], main script").count() == 0
        assert page.title() != "owned"
    finally:
        for item in (asked, hostile):
            call(server, f"/items/image/{quote(item, safe='')}", method="DELETE")


def test_pictures_come_from_this_host_alone(page: Page) -> None:
    def hit(number: int, address: str) -> dict[str, Any]:
        item = {"id": str(number), "modality": "image", "metadata": {"caption": address}}
        return {**item, "score": 0.9, "relevance": 0.9, "weak_match": False, "uri": address, "thumbnail_url": address}

    addresses = [
        "https://elsewhere.invalid/a.png",
        "//elsewhere.invalid/a.png",
        "/\\elsewhere.invalid/a.png",
        "javascript:1",
    ]
    answer = {
        "query": "a",
        "results": [hit(*pair) for pair in enumerate(addresses)],
        "model": "tiny",
        "truncated": False,
    }
    page.route("**/search/**", lambda route: route.fulfill(json=answer))
    page.goto("/ui/?q=a")
    expect(page.locator(".card .no-picture")).to_have_count(len(addresses))
    cards(page).first.click()
    expect(page.locator("#detail .no-picture")).to_be_visible()


def test_the_running_service_is_named(page: Page, server: Server) -> None:
    stats = call(server, "/stats")
    page.goto("/ui/")
    expect(page.get_by_role("note")).to_contain_text(NOTICE)
    assert counted(page, "images") == stats["images_indexed"]
    assert counted(page, "texts") == stats["texts_indexed"]
    for name in ("model", "embedding_dim", "device", "precision", "store", "version"):
        expect(page.locator("#facts dd", has_text=re.compile(f"^{re.escape(str(stats[name]))}$")).first).to_be_visible()


def test_another_model_needs_no_notice(page: Page, server: Server) -> None:
    stats = {**call(server, "/stats"), "model": "ViT-B-32/laion2b_s34b_b79k"}
    page.route("**/stats", lambda route: route.fulfill(json=stats))
    page.goto("/ui/")
    expect(page.locator("#facts dd", has_text=stats["model"])).to_be_visible()
    expect(page.get_by_role("note")).to_be_hidden()


def test_a_busy_service_and_a_lost_connection_are_said_in_words(page: Page, watch: Watch) -> None:
    watch.allow("429")
    watch.allow("net::ERR_")
    problem = {
        "title": "Too many requests",
        "detail": "Sixty a minute are allowed.",
        "code": "rate_limited",
        "request_id": "r-1",
    }
    page.goto("/ui/")
    page.route(
        "**/search/**",
        lambda route: route.fulfill(
            status=429, headers={"Retry-After": "1"}, content_type="application/problem+json", body=json.dumps(problem)
        ),
    )
    ask(page, "a dog")
    error = page.get_by_role("alert")
    expect(error).to_contain_text("Sixty a minute are allowed.")
    expect(error).to_contain_text("r-1")
    again = error.get_by_role("button", name="Try again")
    expect(again).to_be_disabled()
    expect(again).to_be_enabled()

    page.unroute("**/search/**")
    page.route("**/search/**", lambda route: route.abort())
    again.click()
    expect(error).to_contain_text("could not be reached")
    page.unroute("**/search/**")
    error.get_by_role("button", name="Try again").click()
    expect(cards(page).first).to_be_visible()


def test_a_key_is_asked_for_and_travels_with_everything(page: Page, watch: Watch) -> None:
    watch.allow("401")

    def guard(route: Route) -> None:
        if "/ui/" in route.request.url or route.request.headers.get("authorization") == "Bearer sesame":
            route.continue_()
        else:
            problem = {"title": "A key is needed", "detail": "no key came", "code": "unauthorized", "request_id": "r-2"}
            route.fulfill(status=401, content_type="application/problem+json", body=json.dumps(problem))

    page.route(lambda address: not address.startswith("blob:"), guard)
    page.goto("/ui/")
    expect(page.get_by_role("dialog", name="A key is needed")).to_be_visible()
    page.get_by_label("Key", exact=True).fill("sesame")
    page.get_by_role("button", name="Use this key").click()
    expect(cards(page).first).to_be_visible()
    assert counted(page, "images") > 0
    expect_drawn(page.locator(".card img").first)


def test_a_newer_search_replaces_one_under_way(page: Page) -> None:
    held: list[Route] = []
    page.goto("/ui/")
    page.route(
        "**/search/**",
        lambda route: held.append(route) if "slow" in (route.request.post_data or "") else route.continue_(),
    )
    ask(page, "slow")
    expect(page.locator("[aria-busy] .skeleton").first).to_be_visible()
    with page.expect_event("requestfailed", lambda request: "text-to-image" in request.url):
        ask(page, BANANAS)
    expect(cards(page).first).to_be_visible()
    expect(page.get_by_role("heading", name=BANANAS)).to_be_visible()
    assert held  # one, or on a slow machine another as the words were typed


def test_the_keyboard_is_enough(page: Page) -> None:
    page.goto(f"/ui/?q={quote(BANANAS)}")
    expect(cards(page).nth(1)).to_be_visible()
    page.keyboard.press("/")
    box = page.get_by_role("searchbox")
    expect(box).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(cards(page).first).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(cards(page).nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(cards(page).nth(1)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(cards(page).first).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(box).to_be_focused()


def test_it_fits_every_width_and_nothing_jumps(page: Page) -> None:
    for width in (360, 768, 2560):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"/ui/?q={quote(BANANAS)}")
        expect(cards(page).first).to_be_visible()
        expect_drawn(page.locator(".card img").first)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), width
        assert page.evaluate(LAYOUT_SHIFT) < 0.02, width


def test_the_policy_of_the_page_is_strict_and_kept(page: Page, watch: Watch) -> None:
    watch.allow("Content Security Policy")
    response = page.goto("/ui/")
    assert response is not None
    policy = response.header_value("content-security-policy") or ""
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    expect(page.locator(".card").first).to_be_visible()
    assert watch.seen("Content Security Policy") == []
    page.evaluate("""() => {
      const script = document.createElement("script");
      script.textContent = "document.title = 'owned'";
      document.body.append(script);
    }""")
    assert page.title() == "Crossmodal"
