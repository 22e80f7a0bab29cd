"""The viewer's server: one process that takes in recordings and hands them, with the viewer, to browsers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
import webbrowser
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from semlt3d_ros.core.errors import ConfigurationError

_START_LIMIT_S = 60.0
INSTALL_HINT = "the viewer needs rerun: pip install 'semlt3d_ros[view]' (or: pip install 'rerun-sdk>=0.41')"


class ViewerServer:
    """Rerun's server as a child process, bound to one address of this machine. A context manager.

    The SDK's own ``serve_grpc`` listens on every interface; camera images of a vehicle are nobody else's business, so
    the command-line server is used, which can be told where to listen. It is also told to report no usage.

    Attributes:
        data_url: where recordings connect to.
        page_url: what a browser opens.

    Raises:
        ConfigurationError: rerun is not installed, or its server does not start.
    """

    def __init__(self, address: str = "127.0.0.1", data_port: int = 0, page_port: int = 0) -> None:
        """Start the server; a port of 0 takes any free one."""
        data_port, page_port = data_port or _free_port(address), page_port or _free_port(address)
        self.data_url = f"rerun+http://{address}:{data_port}/proxy"
        self.page_url = f"http://{address}:{page_port}/?url={quote(self.data_url, safe='')}"
        self._folder = tempfile.TemporaryDirectory(prefix="semlt3d_viewer_")
        command = [str(_executable()), "--serve-web", "--bind", address, "--hide-welcome-screen"]
        command += ["--port", str(data_port), "--web-viewer-port", str(page_port)]
        log = Path(self._folder.name) / "server.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_quiet_environment(self._folder.name),
                # A terminal's Ctrl-C goes to us alone: we have to hand over what is buffered before the server ends.
                start_new_session=True,
            )
        self._wait_for([(address, data_port), (address, page_port)], log)

    def open_browser(self) -> None:
        """Open the viewer in the user's browser, if there is one."""
        webbrowser.open(self.page_url)

    def close(self) -> None:
        """Stop the server."""
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()

    def __enter__(self) -> ViewerServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait_for(self, endpoints: list[tuple[str, int]], log: Path) -> None:
        deadline = time.monotonic() + _START_LIMIT_S
        for endpoint in endpoints:
            while not _answers(endpoint):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said = log.read_text(errors="replace").strip().splitlines()
                    self.close()
                    raise ConfigurationError(
                        f"the viewer's server does not answer at {endpoint[0]}:{endpoint[1]}: "
                        f"{said[-1] if said else 'it said nothing'}"
                    )
                time.sleep(0.05)


def _executable() -> Path:
    try:
        import rerun_cli  # type: ignore[import-untyped]
    except ImportError as error:
        raise ConfigurationError(INSTALL_HINT) from error
    # Its Python wrapper would stay between us and the server, and the server would outlive a terminated wrapper.
    return Path(rerun_cli.__file__).parent / "rerun"


def _quiet_environment(folder: str) -> dict[str, str]:
    """An environment with a configuration of its own, in which usage reports are switched off."""
    settings = Path(folder) / "rerun" / "analytics.json"
    settings.parent.mkdir()
    settings.write_text(
        json.dumps(
            {
                "analytics_enabled": False,
                "analytics_id": "",
                "metadata": {},
                "config_file_path": str(settings),
                "data_dir_path": str(settings.parent / "data"),
            }
        )
    )
    return {**os.environ, "XDG_CONFIG_HOME": folder, "XDG_DATA_HOME": folder}


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _answers(endpoint: tuple[str, int]) -> bool:
    try:
        socket.create_connection(endpoint, timeout=1.0).close()
    except OSError:
        return False
    return True
