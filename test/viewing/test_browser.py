"""The viewer in a real browser: ``view_bags`` in its own process, headless Chromium, a screenshot."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote, urlparse

import cv2
import numpy as np
import pytest
from selenium.common.exceptions import TimeoutException

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.viewing.server import ViewerServer
from semlt3d_ros.viewing.style import TRUTH_COLOR, class_color

BROWSER = next((p for p in map(shutil.which, ("chromium", "google-chrome", "chromium-browser")) if p), None)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1100,900",
)
LIMIT_S = 240
"""Compiling the viewer's WebAssembly and drawing without a GPU takes half a minute on an idle core."""

SHOW = "import sys; from semlt3d_ros.viewing import view_bags; view_bags(sys.argv[1:], open_browser=False)"


@pytest.fixture
def page(drive_bag, detections_bag):
    """Address of the viewer of a process that shows both bags; it is ended by SIGINT afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-c", SHOW, str(drive_bag), str(detections_bag)], stdout=subprocess.PIPE, text=True
    )
    lines = [process.stdout.readline().strip()]
    try:
        while "Ctrl-C" not in lines[-1] and process.poll() is None:
            lines.append(process.stdout.readline().strip())
        assert lines[0].startswith("viewer: http://127.0.0.1:"), lines
        assert lines[1] == "3 frames"
        yield lines[0].split()[1]
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=30)
        process.stdout.close()
    assert code == 0
    assert all(not listens(port) for port in ports_of(lines[0].split()[1]))


@pytest.fixture
def browser(tmp_path):
    if not (BROWSER and DRIVER):
        pytest.skip("no chromium and chromedriver on this machine (Debian: apt-get install chromium chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    # Nothing but this machine can be reached: the viewer needs nothing else.
    rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    for flag in (*FLAGS, rules, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_page_load_timeout(LIMIT_S)
    yield driver
    driver.quit()


def ports_of(page: str) -> list[int]:
    address = urlparse(page)
    return [address.port, urlparse(unquote(address.query.removeprefix("url=rerun%2B"))).port]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def near(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """(N, 2) x and y of the pixels of about a colour (RGB)."""
    rows, columns = np.nonzero(np.abs(picture.astype(int) - color).max(axis=2) < 40)
    return np.stack([columns, rows], axis=1)


def check_screen(picture: np.ndarray) -> None:
    """Six images where they belong, each box in the image of the camera that saw it, and all of them in space."""
    height, width = picture.shape[:2]
    middle = height // 2
    # The images are flat grey: six tiles of it, in two rows and three columns of the upper half.
    grey = np.abs(picture[:middle].astype(int) - 90).max(axis=2) < 6
    _, _, areas, _ = cv2.connectedComponentsWithStats(grey.astype(np.uint8))
    tiles = areas[1:][areas[1:, cv2.CC_STAT_AREA] > 0.01 * width * height]
    assert len(tiles) == 6
    columns = (tiles[:, cv2.CC_STAT_LEFT] + tiles[:, cv2.CC_STAT_WIDTH] / 2) // (width / 3)
    assert sorted(columns) == [0, 0, 1, 1, 2, 2]
    second_row = tiles[:, cv2.CC_STAT_TOP].max()
    for name, column, row in (("child", 0, 0), ("car", 1, 0), ("bus", 1, 1)):
        places = near(picture, class_color(name))
        outline = places[places[:, 1] < middle]
        assert len(outline) > 20, name
        assert set(outline[:, 0] // (width / 3)) == {column}, name
        assert set(outline[:, 1] > second_row) == {bool(row)}, name
        assert (places[:, 1] > middle).any(), name
    assert len(near(picture, TRUTH_COLOR)) > 20


@pytest.mark.timeout(2 * LIMIT_S)
def test_images_boxes_and_confidences_are_on_the_screen(page, browser, tmp_path):
    browser.get(page)
    deadline = time.monotonic() + LIMIT_S
    screenshot = Path(os.environ.get("SEMLT3D_SCREENSHOT", tmp_path / "viewer.png"))
    # Images, outlines and the 3D view appear one after the other; a busy renderer may miss the time for a screenshot.
    while True:
        try:
            browser.save_screenshot(str(screenshot))
            check_screen(cv2.imread(str(screenshot))[..., ::-1])
            break
        except (AssertionError, TimeoutException):
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)


def test_the_server_listens_on_this_machine_only():
    with ViewerServer() as server:
        ports = ports_of(server.page_url)
        assert all(listens(port) for port in ports)
        everywhere = {
            int(line.split()[1].split(":")[1], 16)
            for name in ("tcp", "tcp6")
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
            if set(line.split()[1].split(":")[0]) == {"0"}
        }
        assert not everywhere & set(ports)
    assert not any(listens(port) for port in ports)


def test_a_taken_port_is_one_clear_line():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=str(port)):
            ViewerServer(data_port=port)
