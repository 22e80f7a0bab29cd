"""TensorBoard, where it is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.errors import ConfigurationError

REMEDY = "install it by 'pip install semlt3d_ros[training]'"


class Board:
    """Writes what ``tensorboard --logdir FOLDER`` shows.

    Args:
        folder: where to.

    Raises:
        ConfigurationError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboard import version  # noqa: F401 (torch's own message tells no remedy)
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigurationError(f"TensorBoard is not there ({error}); {REMEDY}") from error
        self._writer = SummaryWriter(str(folder))

    def scalars(self, step: int, figures: dict[str, float]) -> None:
        """Figures by name, such as ``loss/boxes``."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def picture(self, step: int, name: str, picture: NDArray[np.uint8]) -> None:
        """A picture (H, W, 3) RGB."""
        self._writer.add_image(name, picture, step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """End the file."""
        self._writer.close()
