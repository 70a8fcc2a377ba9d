"""A browser without a window, for pictures on machines without a screen."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--no-first-run",
    # WebGL by the CPU where there is no GPU.
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)


def find_browser() -> str | None:
    """Path of a Chromium or Chrome."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def flags() -> list[str]:
    """What a headless Chromium needs to draw in 3D here."""
    # Chromium does not run with its sandbox as root, as in containers; it opens our own page only.
    return [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]


@contextmanager
def page(url: str, width: int, height: int) -> Iterator[None]:
    """Opens a page as long as the context lasts.

    Raises:
        FileNotFoundError: if there is no browser.
    """
    browser = find_browser()
    if browser is None:
        raise FileNotFoundError("a picture without a screen needs Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [browser, *flags(), f"--window-size={width},{height}", f"--user-data-dir={profile}", url]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.terminate()
            process.wait()
