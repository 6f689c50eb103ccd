"""A real browser, as the system has one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

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
