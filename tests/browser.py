"""A headless Chromium for tests of pages, and a record of everything that goes wrong in one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Containers have neither user namespaces for the sandbox nor a microphone; sound plays without a click first
FLAGS = (
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A running `playwright` browser; skips where playwright or Chromium is missing. GENSE_CHROMIUM names the latter.

    Chromium is looked for on the path, then where `playwright install chromium` puts it.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install gense[dev]")
    path = os.environ.get("GENSE_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        except sync_api.Error as error:
            if path is not None:
                raise
            pytest.skip(f"no Chromium: install one, or name it in GENSE_CHROMIUM ({str(error).splitlines()[0]})")
        yield browser
        browser.close()


@dataclass
class Log:
    """What a page complained about and whom it asked.

    Attributes:
        errors: errors and warnings of the console, uncaught exceptions, requests that failed or were refused.
        hosts: hosts other than this machine to which a request went; none for a page that works offline.
    """

    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def beyond(self, *harmless: str) -> list[str]:
        """The errors that contain none of these texts."""
        return [error for error in self.errors if not any(text in error for text in harmless)]


def watched(page: Any) -> Log:
    """Record what goes wrong in a playwright page from now on; call it before the page opens anything."""
    log = Log()

    def asked(request: Any) -> None:
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.hostname not in ("127.0.0.1", "localhost"):
            log.hosts.add(address.hostname or request.url)

    def said(message: Any) -> None:
        if message.type in ("error", "warning"):
            log.errors.append(f"console {message.type}: {message.text} ({message.location.get('url', '')})")

    def answered(response: Any) -> None:
        if response.status >= 400:
            log.errors.append(f"status {response.status}: {response.url}")

    page.on("request", asked)
    page.on("console", said)
    page.on("response", answered)
    page.on("pageerror", lambda error: log.errors.append(f"exception: {error}"))
    page.on("requestfailed", lambda request: log.errors.append(f"failed: {request.url} ({request.failure})"))
    return log
