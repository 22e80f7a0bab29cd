"""Where PandaSet's vehicle was, as ``odom`` -> ``base_link``, and where its sensors sit on it.

``lidar/poses.json`` holds the pose of a vehicle frame (x right, y forward, z up), not of the LiDAR: the cameras lie
1.5 m to 1.8 m above its origin. ``docs/pandaset.md`` has the measurements behind the constants.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from semlt3d_ros.core import rigid
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.datasets.pandaset_files import PandaSetSequence, SensorTrack

_ROAD_SLOPE = (0.033, 0.0075)
"""Rise of the road along x (right) and y (forward) of PandaSet's vehicle frame, which is mounted 1.9 degrees askew."""

_ROAD_HEIGHT = -0.29
"""Metres; z of the road under the origin of PandaSet's vehicle frame."""


def _vehicle_from_base() -> Matrix:
    up = np.array([-_ROAD_SLOPE[0], -_ROAD_SLOPE[1], 1.0]) / np.linalg.norm([*_ROAD_SLOPE, 1.0])
    left = np.cross(up, [0.0, 1.0, 0.0])
    left /= np.linalg.norm(left)
    return rigid.transform((0.0, 0.0, _ROAD_HEIGHT), np.stack([np.cross(left, up), left, up], axis=1))


T_BASE_VEHICLE: Matrix = rigid.inverse(_vehicle_from_base())
"""``base_link`` (REP-105: x forward, y left, z up from the road) <- PandaSet's vehicle frame."""

_T_VEHICLE_PANDAR: Matrix = rigid.transform(
    (0.0, 0.782, 1.859), Rotation.from_euler("xyz", (-0.895, 0.058, -178.18), degrees=True).as_matrix()
)
"""The pose of the Pandar64 (x left, y backward, z up) in which its 64 rings are cones."""

T_BASE_LIDAR: Matrix = T_BASE_VEHICLE @ _T_VEHICLE_PANDAR @ rigid.planar(0.0, 0.0, -np.pi / 2)
"""``base_link`` <- the LiDAR's frame as this package publishes it: x forward, y left, z up."""


class VehicleMotion:
    """Ego poses at every stamp of a sequence.

    The poses of cameras and vehicle are given each at its own stamp. A camera's mount is the mean, over the sequence,
    of its pose relative to the vehicle's interpolated one; the ego pose at a camera's stamp then follows from that
    camera's pose, so that ego pose and mount together give PandaSet's camera pose exactly.

    Attributes:
        at_lidar: world <- base_link at each LiDAR stamp.
        mounts: PandaSet's camera name -> base_link <- camera.
    """

    def __init__(self, sequence: PandaSetSequence) -> None:
        self._lidar = sequence.lidar
        self._cameras = sequence.cameras
        self._known = np.flatnonzero(sequence.lidar.known)
        self.at_lidar = [pose @ rigid.inverse(T_BASE_VEHICLE) for pose in sequence.lidar.poses]
        for frame in np.flatnonzero(~sequence.lidar.known):
            self.at_lidar[frame] = self._interpolated(sequence.lidar.stamps[frame])
        self.mounts = {name: self._mount(track) for name, track in sequence.cameras.items()}

    def at_camera(self, camera: str, frame: int) -> Matrix:
        """World <- base_link at the stamp of a camera's frame."""
        if not self._cameras[camera].known[frame]:
            return self._interpolated(self._cameras[camera].stamps[frame])
        return self._cameras[camera].poses[frame] @ rigid.inverse(self.mounts[camera])

    def poses(self, frames: range) -> dict[int, Matrix]:
        """World <- base_link at every camera and LiDAR stamp of the frames, by stamp in nanoseconds."""
        poses: dict[int, Matrix] = {}
        for frame in frames:
            for camera, track in self._cameras.items():
                poses.setdefault(int(track.stamps[frame]), self.at_camera(camera, frame))
            poses.setdefault(int(self._lidar.stamps[frame]), self.at_lidar[frame])
        return poses

    def velocity(self, frame: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Linear (3,) m/s and angular (3,) rad/s velocity along the axes of base_link, at a LiDAR stamp."""
        before, after = max(frame - 1, 0), min(frame + 1, len(self.at_lidar) - 1)
        seconds = (self._lidar.stamps[after] - self._lidar.stamps[before]) * 1e-9
        first, last, rotation = self.at_lidar[before], self.at_lidar[after], self.at_lidar[frame][:3, :3]
        linear = rotation.T @ (last[:3, 3] - first[:3, 3]) / seconds
        turned = Rotation.from_matrix(last[:3, :3] @ first[:3, :3].T).as_rotvec()
        return linear, rotation.T @ turned / seconds

    def _mount(self, track: SensorTrack) -> Matrix:
        relative = np.array(
            [
                rigid.inverse(self._interpolated(stamp)) @ pose
                for stamp, pose, known in zip(track.stamps, track.poses, track.known, strict=True)
                if known
            ]
        )
        return rigid.transform(
            relative[:, :3, 3].mean(axis=0), Rotation.from_matrix(relative[:, :3, :3]).mean().as_matrix()
        )

    def _interpolated(self, stamp: np.int64) -> Matrix:
        """World <- base_link from the LiDAR's stamps alone; the first and last motion go on beyond the ends."""
        stamps = self._lidar.stamps[self._known]
        after = int(np.clip(np.searchsorted(stamps, stamp), 1, len(stamps) - 1))
        fraction = (stamp - stamps[after - 1]) / (stamps[after] - stamps[after - 1])
        before, behind = (self.at_lidar[self._known[place]] for place in (after - 1, after))
        return rigid.interpolate(before, behind, float(fraction))
