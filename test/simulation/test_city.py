"""A city where nobody has been: cameras see it differently, all else is as it would be at home."""

from __future__ import annotations

from typing import Any

import numpy as np

from semlt3d_ros.simulation.city import in_city
from semlt3d_ros.simulation.drive import Drive, DriveConfig


def frame_in(city: Any) -> Any:
    return Drive(DriveConfig(31, frames=1, image_size=(96, 56), city=city)).frame(0)


def test_snow_makes_the_ground_the_brightest_part_and_mist_hides_what_is_far() -> None:
    for seed in range(20):
        drive = Drive(DriveConfig(seed, frames=1, image_size=(32, 16), lidar=None))
        palette, light = drive.surroundings.palette, drive.surroundings.light
        snow, dusk = in_city("winter", palette, light, np.random.default_rng(seed))
        assert (snow.colors[2:5] > 0.4).all() and snow.colors.mean() > palette.colors.mean()
        assert np.array_equal(snow.reflectivity, palette.reflectivity), "a LiDAR does not mind"
        assert dusk.haze_m < 100 and not dusk.sun.any() and dusk.ambient[2] > dusk.ambient[0]


def test_cameras_see_another_city_and_the_lidar_does_not() -> None:
    home, winter = frame_in("home"), frame_in("winter")
    assert np.array_equal(home.points.xyz, winter.points.xyz)
    assert np.array_equal(home.labels.boxes.centers, winter.labels.boxes.centers)
    assert np.array_equal(home.labels.class_ids, winter.labels.class_ids)
    seen = [np.stack([view.image for view in frame.views]).astype(float) for frame in (home, winter)]
    assert seen[1].mean() < 0.7 * seen[0].mean(), "it is dusk"
    colour = [image.mean(axis=(0, 1, 2)) for image in seen]
    assert colour[1][2] / colour[1][0] > 1.1 * colour[0][2] / colour[0][0], "in blue light"
