import numpy as np
import pytest

from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES, CLASSES
from semlt3d_ros.simulation.drive import Drive, DriveConfig
from semlt3d_ros.simulation.population import NUSCENES_COUNTS, class_probabilities


def test_counts_agree_with_the_frequency_groups():
    for info in CLASSES:
        count = NUSCENES_COUNTS[info.name]
        assert info.group == ("few" if count < 5_000 else "medium" if count < 50_000 else "many")


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_exponent_tempers_the_long_tail(exponent):
    shares = class_probabilities(exponent)
    ratio = NUSCENES_COUNTS["car"] / NUSCENES_COUNTS["stroller"]
    assert np.isclose(shares.sum(), 1)
    assert np.isclose(shares[CLASS_INDEX["car"]] / shares[CLASS_INDEX["stroller"]], ratio**exponent)


def test_drives_follow_the_long_tail():
    """Placed actors of many drives have the drawn frequencies, rejections included."""
    counts = np.zeros(len(CLASS_NAMES))
    for seed in range(40):
        drive = Drive(DriveConfig(seed, frames=1, image_size=(16, 8), lidar=None))
        np.add.at(counts, [actor.class_id for actor in drive.actors], 1)
    expected = class_probabilities(1.0) * counts.sum()
    assert counts.sum() > 500
    deviation = (counts - expected) / np.sqrt(expected + 1)
    assert np.abs(deviation).max() < 4.5
