"""Images for published models are made as their authors make them."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.messages import encode, topics
from semlt3d_ros.sensing.camera_input import CameraInput
from semlt3d_ros.sensing.preparation import ImagePreparation, ImageSpec
from semlt3d_ros.sensing.rig import CameraConfig

K = np.array([[1266.4, 0.0, 816.3], [0.0, 1266.4, 491.5], [0.0, 0.0, 1.0]])


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_a_nuscenes_image_is_scaled_by_pillow_and_its_sky_is_cut_off():
    """900x1600 to 256x704: by 0.44 to 396x704, and the lowest 256 rows of that."""
    image = noise(900, 1600)
    view, camera = ImagePreparation(ImageSpec(704, 256, resampling="bicubic"))(image, CameraModel(1600, 900, K))
    assert (view == np.asarray(Image.fromarray(image).resize((704, 396)))[140:]).all()
    assert pytest.approx(np.array([[557.216, 0, 359.172], [0, 557.216, 76.26], [0, 0, 1]])) == camera.K
    assert (camera.width, camera.height) == (704, 256) and camera.is_pinhole


@given(st.integers(200, 900), st.integers(200, 900), st.sampled_from([(704, 256), (800, 320), (96, 64)]))
def test_any_image_fills_the_view(width, height, size):
    """The lowest rows and the middle columns; nothing is black, and the intrinsics follow."""
    preparation = ImagePreparation(ImageSpec(*size, resampling="bicubic"))
    source = CameraModel(width, height, np.array([[300.0, 0, width / 2], [0, 320.0, height], [0, 0, 1]]))
    view, camera = preparation(np.full((height, width, 3), 200, np.uint8), source)
    assert view.shape == (size[1], size[0], 3) and (view == 200).all()
    scale = max(size[0] / width, size[1] / height)
    assert camera.K[0, 2] == pytest.approx(size[0] / 2, abs=4)
    if height <= width:
        assert camera.K[0, 0] == pytest.approx(300 * scale) and camera.K[1, 1] == pytest.approx(320 * scale)
        assert camera.K[1, 2] == pytest.approx(size[1], abs=1)
    assert preparation.required_size(source) == (width, height)


def test_of_a_portrait_image_the_middle_is_taken():
    """Argoverse 2's front camera, 1550 wide: by 1.35 to 2092x2764, of that the middle 2048x1550, then as any other."""
    image = noise(2048, 1550)
    source = CameraModel(1550, 2048, np.array([[1683.0, 0, 775.0], [0, 1683.0, 1024.0], [0, 0, 1]]))
    view, camera = ImagePreparation(ImageSpec(960, 640, resampling="bicubic"))(image, source)
    middle = Image.fromarray(image).resize((2092, 2764)).crop((22, 607, 22 + 2048, 607 + 1550))
    assert (view == np.asarray(middle.resize((960, 726)))[86:]).all()
    scale = 1.35 * 960 / 2048
    across, down = (775 * 1.35 - 22) * 960 / 2048, (1024 * 1.35 - 607) * 960 / 2048 - 86
    assert pytest.approx(np.array([[1683 * scale, 0, across], [0, 1683 * scale, down], [0, 0, 1]])) == camera.K


def test_a_distortion_is_taken_out_first():
    """Smooth dots that a distorted camera sees come out where the result's camera has them, but for half a pixel."""
    spec = ImageSpec(240, 120, resampling="bicubic")
    bent = CameraModel(
        480,
        270,
        np.array([[240.0, 0, 236], [0, 240.0, 140], [0, 0, 1]]),
        "plumb_bob",
        np.array([-0.16, 0.01, 0.001, -0.0005, 0.01]),
    )
    _, seen_by = ImagePreparation(spec)(np.zeros((270, 480, 3), np.uint8), bent)
    moved = seen_by.K.copy()
    moved[:2, 2] -= 0.25  # at scale 0.5 pixel centres move by a quarter of a pixel, which the authors leave out
    true = CameraModel(240, 120, moved)

    def dots(pixels):
        waves = np.cos(2 * np.pi * pixels / 16)
        return 127.5 + 120 * waves[..., 0] * waves[..., 1]

    grid = np.stack(np.meshgrid(np.arange(480), np.arange(270)), axis=-1)
    image = np.repeat(dots(true.project(bent.unproject(grid))[0])[..., None], 3, axis=-1).round().astype(np.uint8)
    view, _ = ImagePreparation(spec)(image, bent)
    inner = np.s_[20:-20, 20:-20]
    expected = dots(np.stack(np.meshgrid(np.arange(240), np.arange(120)), axis=-1).astype(float))
    assert np.abs(view[..., 0][inner] - expected[inner]).mean() < 2.0


def test_jpegs_are_decoded_to_the_last_bit():
    """As Pillow and OpenCV decode them; a faster way is off by 1 of 255 on average, at two pixels of three."""
    rng = np.random.default_rng(3)
    image = cv2.resize(rng.integers(0, 256, (45, 80, 3), np.uint8), (1600, 900), interpolation=cv2.INTER_CUBIC)
    message = encode.encode_compressed_image(image, 1, "camera", quality=90)
    data = bytes(message.data)
    preparation = ImagePreparation(ImageSpec(704, 256, resampling="bicubic"))
    camera = CameraInput(CameraConfig("A", "/image", "/info"), preparation)
    assert camera.add_info(encode.encode_camera_info(CameraModel(1600, 900, K), 1, "camera")) is None
    added = camera.add_image(topics.COMPRESSED_IMAGE_TYPE, message)
    assert added is not None
    whole = Image.open(io.BytesIO(data))
    assert (np.asarray(whole) == cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]).all()
    np.testing.assert_array_equal(added[1].image, np.asarray(whole.resize((704, 396)))[140:])
