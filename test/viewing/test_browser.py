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
    "--window-size=1300,1000",
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


@pytest.mark.timeout(2 * LIMIT_S)
def test_images_boxes_and_confidences_are_on_the_screen(page, browser, tmp_path):
    browser.get(page)
    deadline = time.monotonic() + LIMIT_S
    colors = {"car": class_color("car"), "child": class_color("child"), "bus": class_color("bus"), "": TRUTH_COLOR}
    while True:
        picture = cv2.imdecode(np.frombuffer(browser.get_screenshot_as_png(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        found = {name: near(picture, color) for name, color in colors.items()}
        if all(len(places) > 20 for places in found.values()) or time.monotonic() > deadline:
            break
        time.sleep(1.0)
    Path(os.environ.get("SEMLT3D_SCREENSHOT", tmp_path / "viewer.png")).write_bytes(browser.get_screenshot_as_png())
    assert all(len(places) > 20 for places in found.values()), {name: len(p) for name, p in found.items()}
    height, width = picture.shape[:2]
    # The images are flat grey: six tiles of it, in two rows and three columns of the upper half.
    grey = np.abs(picture[: height // 2].astype(int) - 90).max(axis=2) < 6
    tiles, _, boxes, _ = cv2.connectedComponentsWithStats(grey.astype(np.uint8))
    tiles = boxes[1:][boxes[1:, cv2.CC_STAT_AREA] > 0.01 * width * height]
    assert len(tiles) == 6
    centers = tiles[:, :2] + tiles[:, 2:4] / 2
    assert len(np.unique(np.round(centers[:, 0] / width * 6))) == 3
    # Each box's outline is in the picture of the camera that saw it: child, car above, bus below, in the upper half.
    third, middle = width / 3, tiles[:, 1].max()
    upper = {name: places[places[:, 1] < height // 2] for name, places in found.items()}
    child, car, bus = (upper[name].mean(axis=0) for name in ("child", "car", "bus"))
    assert child[0] < third < car[0] < 2 * third
    assert third < bus[0] < 2 * third
    assert child[1] < middle and car[1] < middle < bus[1]
    # And the boxes themselves are in the 3D view below.
    assert all((found[name][:, 1] > height // 2).any() for name in ("car", "child", "bus"))


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
