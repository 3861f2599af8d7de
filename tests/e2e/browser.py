"""A real browser for tests: Debian's Chromium, and a record of everything a page must not do."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, sync_playwright

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str:
    """Where Chromium is; raises FileNotFoundError naming the package that brings it."""
    found = shutil.which("chromium")
    if found is None:
        raise FileNotFoundError("no chromium on PATH: install Debian's package `chromium` (apt-get install chromium)")
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser, closed afterwards."""
    executable = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Watch:
    """What went wrong in a page: errors and warnings of its console, uncaught exceptions, requests to other hosts.

    Breaches of the Content-Security-Policy are console errors too. ``allow`` names a part of a message that a test
    provokes on purpose.
    """

    def __init__(self, page: Page, base_url: str) -> None:
        self._host = urlsplit(base_url).netloc
        self._seen: list[str] = []
        self._allowed: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", self._on_error)
        page.on("request", self._on_request)

    def allow(self, part: str) -> None:
        """Expect messages that hold ``part``."""
        self._allowed.append(part)

    @property
    def faults(self) -> list[str]:
        """Everything seen that no test asked for."""
        return [fault for fault in self._seen if not any(part in fault for part in self._allowed)]

    def seen(self, part: str) -> list[str]:
        """Everything seen that holds ``part``, allowed or not."""
        return [fault for fault in self._seen if part in fault]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._seen.append(f"console {message.type}: {message.text}")

    def _on_error(self, error: Error) -> None:
        self._seen.append(f"uncaught: {error.message}")

    def _on_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in {"data", "blob"} and address.netloc != self._host:
            self._seen.append(f"request to another host: {request.url}")
