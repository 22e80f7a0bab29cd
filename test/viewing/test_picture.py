"""A frame as a plain picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.labelled_region import LabelledRegion, ViewWindow
from semlt3d_ros.viewing.picture import draw_frame
from semlt3d_ros.viewing.region import LEFT_OUT_COLOR
from semlt3d_ros.viewing.style import camera_rows, class_color


def count(picture: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((np.abs(picture.astype(int) - color).max(axis=2) <= 8).sum())


def green(picture: np.ndarray) -> int:
    """Pixels of truth, also where a thin line is blended with what is behind it."""
    red, green, blue = np.moveaxis(picture.astype(int), 2, 0)
    return int(((green > red + 25) & (green > blue + 25)).sum())


def test_cameras_stand_where_they_look(frame):
    assert camera_rows(frame.views) == (
        ["CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT"],
        ["CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT"],
    )


def test_every_camera_shows_its_own_boxes(frame, detections):
    picture = draw_frame(frame, detections, image_width=448)
    assert picture.dtype == np.uint8
    tiles = {
        name: picture[260 * row : 260 * row + 256, 452 * column : 452 * column + 448]
        for row, names in enumerate(camera_rows(frame.views))
        for column, name in enumerate(names)
    }
    shown = {
        name: [kind for kind in ("car", "child", "bus") if count(tile, class_color(kind)) > 20]
        for name, tile in tiles.items()
    }
    assert shown == {
        "CAM_FRONT_LEFT": ["child"],
        "CAM_FRONT": ["car"],
        "CAM_FRONT_RIGHT": [],
        "CAM_BACK_LEFT": [],
        "CAM_BACK": ["bus"],
        "CAM_BACK_RIGHT": [],
    }
    assert green(picture) == 0


def test_view_from_above_has_ahead_up_and_left_left(frame, detections, labels):
    plain = replace(frame, views=(), points=None)
    above = draw_frame(plain, detections, image_width=450)
    assert above.shape == (450, 450, 3)
    places = {
        name: np.argwhere(np.abs(above.astype(int) - class_color(name)).max(axis=2) <= 8).mean(axis=0)
        for name in ("car", "child", "bus")
    }
    # 5 pixels per metre, the ego vehicle at (225, 225).
    assert np.abs(places["car"] - [225 - 15 * 5, 225]).max() < 15
    assert np.abs(places["child"] - [225 - 8 * 5, 225 - 9 * 5]).max() < 8
    assert np.abs(places["bus"] - [225 + 15 * 5, 225]).max() < 20
    assert green(draw_frame(plain, None, labels, image_width=450)) > 100


def test_points_and_the_frames_own_labels_are_drawn(frame, labels):
    with_labels = draw_frame(replace(frame, labels=labels))
    without = draw_frame(frame)
    assert green(with_labels) > green(without) + 200
    shade = (150, 150, 150)
    assert count(without, shade) > count(draw_frame(replace(frame, points=None)), shade) + 500


def test_what_is_not_judged_is_pale_and_ignored_objects_are_grey(frame, detections, labels):
    window = ViewWindow(frame.views[0].T_ego_camera, -0.5, -0.4, 0.5, 0.4)
    part = replace(frame, points=None, region=LabelledRegion((window,), (replace(window, left=0.3),)))
    whole = draw_frame(replace(part, region=LabelledRegion()), detections, image_width=448)
    picture = draw_frame(part, detections, image_width=448)
    assert count(picture, class_color("car")) > 50
    for name in ("bus", "child"):
        assert count(picture, class_color(name)) < 0.2 * count(whole, class_color(name)), name
    assert count(picture, LEFT_OUT_COLOR) > 20 and count(whole, LEFT_OUT_COLOR) == 0
    # Two of three objects are of none of the classes.
    columns = [0 if name == "car" else ABSENT for name in labels.class_names]
    mapped = labels.as_classes(columns, ("auto",))
    plain = replace(frame, points=None)
    all_green, some = (draw_frame(plain, None, each, image_width=448) for each in (labels, mapped))
    assert 0 < green(some) < 0.7 * green(all_green)
    grey = (150, 150, 150)
    assert count(some, grey) > count(all_green, grey) + 100
    assert (draw_frame(plain, detections, mapped) != draw_frame(plain, detections, replace(mapped, own_names=()))).any()
