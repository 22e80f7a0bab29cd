import pytest

from semlt3d_ros.simulation.drive import Drive, DriveConfig


@pytest.fixture(scope="session")
def drives():
    """A few drives with a flat class mix, and the last frame of each."""
    configs = [
        DriveConfig(seed, frames=2, interval_s=1.0, image_size=(224, 128), class_exponent=0.2, objects=(20, 30))
        for seed in (3, 11, 42)
    ]
    drives = [Drive(config) for config in configs]
    return [(drive, drive.frame(1)) for drive in drives]
