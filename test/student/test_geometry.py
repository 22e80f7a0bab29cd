"""The box code, projection and viewing rays against the core room."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core import rigid
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.student import geometry

coordinate = st.floats(-40, 40)


@given(
    st.tuples(coordinate, coordinate, st.floats(-2, 3)),
    st.tuples(coordinate, coordinate, st.floats(-2, 3)),
    st.tuples(*[st.floats(0.1, 15)] * 3),
    st.floats(-3.1, 3.1),
    st.tuples(st.floats(-15, 15), st.floats(-15, 15)),
)
def test_box_code_round_trip(center, reference, size, yaw, velocity) -> None:
    box = torch.tensor([*center, *size, yaw, *velocity], dtype=torch.float64)
    point = torch.tensor(reference, dtype=torch.float64)
    back = geometry.decode_boxes(geometry.encode_boxes(box, point), point)
    assert torch.allclose(back[:6], box[:6], atol=1e-6)
    assert abs(rigid.wrap_angle(float(back[6]) - yaw)) < 1e-6
    assert torch.allclose(back[7:], box[7:], atol=1e-6)


@given(st.floats(-3.1, 3.1))
def test_box_code_does_not_depend_on_the_direction_of_view(turn: float) -> None:
    def turned(angle: float) -> tuple[torch.Tensor, torch.Tensor]:
        T = rigid.planar(0.0, 0.0, angle)
        center = rigid.apply(T, np.array([12.0, 1.0, 0.5]))
        reference = rigid.apply(T, np.array([10.0, -0.5, 0.7]))
        velocity = T[:2, :2] @ [3.0, 1.0]
        box = torch.tensor([*center, 4.0, 2.0, 1.5, 0.4 + angle, *velocity])
        return box, torch.tensor(reference)

    first = geometry.encode_boxes(*turned(0.0))
    assert torch.allclose(first, geometry.encode_boxes(*turned(turn)), atol=1e-6)


def test_projection_agrees_with_the_camera_model_and_is_undone_by_unprojection() -> None:
    rng = np.random.default_rng(0)
    K = np.array([[150.0, 0.5, 110.0], [0, 140.0, 45.0], [0, 0, 1]])
    T = rigid.transform((1.0, -0.4, 1.6), rng.normal(size=4))
    camera_points = rng.uniform((-2, -1, 2), (2, 1, 30), (50, 3))
    points = torch.tensor(rigid.apply(T, camera_points))[None]
    intrinsics, pose = torch.tensor(K)[None, None], torch.tensor(T)[None, None]
    pixels, depth = geometry.project(points, intrinsics, pose)
    expected, _ = CameraModel(224, 96, K).project(camera_points)
    assert np.allclose(pixels[0, 0].numpy(), expected) and np.allclose(depth[0, 0].numpy(), camera_points[:, 2])
    back = geometry.unproject(pixels[0, 0], depth[0, 0], intrinsics[0, 0], pose[0, 0])
    assert torch.allclose(back, points[0])


def test_spiral_spreads_points_evenly_over_the_disc() -> None:
    points = geometry.spiral(400, 40.0).numpy()
    radius = np.hypot(points[:, 0], points[:, 1])
    assert radius.max() < 40.0
    assert abs((radius < 20.0).mean() - 0.25) < 0.01
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1) + 1e9 * np.eye(400)
    assert distance.min() > 1.5
