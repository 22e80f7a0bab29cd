"""Debug images: one camera's view with its boxes drawn in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.taxonomy import CLASS_INDEX, CLASS_NAMES
from semlt3d_ros.viewing.annotate import annotate, draw_text
from semlt3d_ros.viewing.style import class_color


def of_color(image: np.ndarray, name: str) -> np.ndarray:
    """(N, 2) rows and columns of the pixels drawn in the colour of a class."""
    return np.argwhere(np.abs(image.astype(int) - class_color(name)).max(axis=2) <= 8)


def one(name: str, center: tuple[float, float, float], size=(4.0, 2.0, 1.6), score: float = 0.9) -> Detections:
    confidences = np.zeros((1, len(CLASS_NAMES)))
    confidences[0, CLASS_INDEX[name]] = score
    return Detections(0, Boxes3D([center], [size], [0.0], [[0.0, 0.0]]), confidences)


def test_boxes_are_drawn_where_they_are_and_the_view_stays_as_it_is(view):
    camera = view("CAM_FRONT", 0.0)
    camera.image.setflags(write=False)
    image = annotate(camera, one("car", (20.0, 3.0, 0.8)))
    assert image.shape == camera.image.shape and image.dtype == np.uint8
    assert (camera.image == 90).all()
    drawn = of_color(image, "car")
    # 20 m ahead, 3 m to the left: 260 * 3 / 20 pixels left of the middle, below the horizon.
    assert np.abs(np.median(drawn[:, 1]) - (223.5 - 260 * 3 / 20)) < 8
    assert drawn[:, 0].min() > 100 and drawn[:, 0].max() < 170


def test_small_images_are_enlarged_so_that_letters_are_small_beside_them(view):
    large = view("CAM_FRONT", 0.0)
    small = replace(large, image=large.image[::4, ::4].copy(), camera=large.camera.resized(112, 64))
    found = one("car", (20.0, 3.0, 0.8))
    image = annotate(small, found)
    assert image.shape == (256, 448, 3) and small.image.shape == (64, 112, 3)
    assert (image == annotate(large, found)).all(), "the same lens, and of one colour"


def test_the_text_tells_class_and_score(view):
    camera = view("CAM_FRONT", 0.0)
    images = [annotate(camera, one("car", (20.0, 0.0, 0.8), score=score)) for score in (0.9, 0.4)]
    above = [image[:117] for image in images]
    assert all((strip != 90).any() for strip in above)
    assert (above[0] != above[1]).any()


def test_groups_have_their_colours(view):
    camera = view("CAM_FRONT", 0.0)
    image = annotate(camera, one("child", (10.0, 0.0, 0.8)))
    assert len(of_color(image, "child")) > 50 and len(of_color(image, "car")) == 0


def test_boxes_below_the_threshold_and_behind_the_camera_are_not_drawn(view):
    camera = view("CAM_FRONT", 0.0)
    assert (annotate(camera, one("car", (20.0, 0.0, 0.8), score=0.2), score_threshold=0.3) == 90).all()
    assert (annotate(camera, one("car", (-20.0, 0.0, 0.8))) == 90).all()
    assert (annotate(camera, Detections(0, Boxes3D.empty(), np.zeros((0, 18)))) == 90).all()


@pytest.mark.parametrize("lens", [{}, {"distortion_model": "equidistant", "D": np.full(4, 0.01)}])
def test_a_box_beside_the_camera_is_cut_where_the_camera_is(view, lens):
    """A truck alongside, from 10 m behind the camera to 10 m ahead of it, is seen on the left alone."""
    image = annotate(view("CAM_FRONT", 0.0, **lens), one("truck", (0.0, 3.0, 1.5), size=(20.0, 2.5, 3.0)))
    drawn = of_color(image, "truck")
    assert len(drawn) > 100
    assert drawn[:, 1].max() < 223


@pytest.mark.parametrize("broken", ["centers", "sizes", "yaw"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.filterwarnings("error")
def test_boxes_that_are_not_finite_are_left_out(view, broken, value):
    found = one("car", (20.0, 0.0, 0.8))
    getattr(found.boxes, broken)[:] = value
    assert (annotate(view("CAM_FRONT", 0.0), found) == 90).all()


@pytest.mark.parametrize("at", [(-50.0, -50.0), (500.0, 500.0), (300.0, 5.0)])
def test_texts_are_kept_within_the_image(at):
    image = np.zeros((64, 320, 3), np.uint8)
    draw_text(image, "construction_vehicle 0.87", at, (255, 255, 255))
    middle = np.zeros((64, 640, 3), np.uint8)
    draw_text(middle, "construction_vehicle 0.87", (100.0, 32.0), (255, 255, 255))
    assert image.sum(dtype=int) == pytest.approx(middle.sum(dtype=int), rel=0.02)
