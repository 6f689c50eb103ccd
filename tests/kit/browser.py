"""A real browser, as the system has one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => console.error("CSP: " + event.violatedDirective));
"""
"""Script that tells the console of everything a page's own policy forbade."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run headless Chromium meanwhile; skip the test where there is none."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed")
    args = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=args)
        yield browser
        browser.close()


def listen(page: Page, complaints: list[str]) -> None:
    """Note from now on whatever the page complains of, what its own policy forbade included, and every dialog."""
    page.add_init_script(VIOLATIONS)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
