"""Folders in nuScenes' own layout, with made-up drives of known motion, of any size: for tests and for measuring."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg

from semlt3d_ros.core import rigid
from semlt3d_ros.datasets.nuscenes_annotations import CATEGORIES
from semlt3d_ros.messages.topics import NUSCENES_CAMERAS

TABLES = (
    *("attribute", "calibrated_sensor", "category", "ego_pose", "instance", "log", "map", "sample"),
    *("sample_annotation", "sample_data", "scene", "sensor", "visibility"),
)
RADARS = ("RADAR_FRONT", "RADAR_FRONT_LEFT", "RADAR_FRONT_RIGHT", "RADAR_BACK_LEFT", "RADAR_BACK_RIGHT")
ATTRIBUTES = ("vehicle.moving", "vehicle.parked", "pedestrian.moving", "pedestrian.standing", "cycle.without_rider")
START = 1_532_402_927_000_000  # microseconds
SPEED, TURN_RATE = 8.0, 0.2  # m/s, rad/s
CAMERA_DELAYS = dict(zip(NUSCENES_CAMERAS, (-35_000, -27_000, -20_000, -10_000, -1_000, -43_000), strict=True))
"""Microseconds from the sample, that is the end of the LiDAR's sweep."""
_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def token(*parts: object) -> str:
    """A key of 32 hexadecimal digits."""
    return hashlib.md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def ego_pose(scene: int, stamp: int) -> rigid.Matrix:
    """Global frame <- vehicle of a drive along a circle, a little tilted; ``stamp`` in microseconds."""
    seconds = (stamp - START) * 1e-6
    heading, radius = TURN_RATE * seconds, SPEED / TURN_RATE
    pose = rigid.planar(400 + 300 * scene + radius * np.sin(heading), 1200 + radius * (1 - np.cos(heading)), heading)
    pose[:3, :3] = pose[:3, :3] @ rigid.rotation_from_quaternion([0.006, -0.004, 0.0, 1.0])
    return pose


def mount(channel: str) -> rigid.Matrix:
    """Vehicle <- sensor."""
    if channel in NUSCENES_CAMERAS:
        turn = rigid.planar(1.5, 0.0, -np.pi / 3 * NUSCENES_CAMERAS.index(channel), z=1.5)
        turn[:3, :3] = turn[:3, :3] @ _OPTICAL
        return turn
    return rigid.planar(0.94, 0.0, -np.pi / 2, z=1.84)


def pose_fields(matrix: rigid.Matrix) -> dict[str, list[float]]:
    """A pose as nuScenes writes it: translation, and rotation as w, x, y, z."""
    x, y, z, w = rigid.quaternion_from_rotation(matrix[:3, :3]).tolist()
    return {"translation": matrix[:3, 3].tolist(), "rotation": [w, x, y, z]}


class TableFiles:
    """Writes tables row by row, laid out as nuScenes' are."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files = {name: (folder / f"{name}.json").open("w") for name in TABLES}
        self.counts = dict.fromkeys(TABLES, 0)

    def add(self, table: str, **row: Any) -> None:
        """Append a row."""
        before = ",\n" if self.counts[table] else "[\n"
        self._files[table].write(before + json.dumps(row, separators=(",\n", ": ")))
        self.counts[table] += 1

    def close(self) -> None:
        """Finish all tables; those without rows are empty."""
        for name, file in self._files.items():
            file.write("\n]\n" if self.counts[name] else "[]\n")
            file.close()


@dataclass
class Drive:
    """What is made up.

    Attributes:
        scenes, samples: number of scenes, and of samples in each, at 2 Hz.
        objects: number of objects in each scene; each is seen in all samples but for gaps.
        sweeps: LiDAR sweeps at 20 Hz and images at 12 Hz between the samples too.
        files: number of the scenes, from the first, that have their files.
        truth: with annotations.
        size: of the images.
        image: content of an image file.
        numbers: of the scenes; from 1 unless given.
        more_categories: names of categories besides those of the boxes.
    """

    scenes: int = 2
    samples: int = 5
    objects: int = 6
    sweeps: bool = True
    files: int = 1_000_000
    truth: bool = True
    size: tuple[int, int] = (64, 36)
    image: Callable[[str, int], bytes] | None = None
    numbers: tuple[int, ...] = ()
    more_categories: tuple[str, ...] = ()
    version: str = "v1.0-mini"
    points: int = 40
    tables: TableFiles = field(init=False)

    def write(self, root: Path) -> dict[str, int]:
        """Write tables and files below ``root``; how many rows each table has."""
        self.tables = TableFiles(root / self.version)
        self._write_names(root)
        for number in range(self.scenes):
            self._write_scene(root, number)
        self.tables.close()
        return self.tables.counts

    def name_of(self, number: int) -> str:
        """Name of a scene."""
        return f"scene-{self.numbers[number] if self.numbers else 1 + number:04d}"

    def stamp(self, sample: int) -> int:
        """Microseconds of a sample."""
        return START + 500_000 * sample

    def center(self, scene: int, which: int, sample: int) -> np.ndarray:
        """Where an object is, in the global frame: some drive, some stand."""
        rng = np.random.default_rng([scene, which])
        ahead = ego_pose(scene, START)
        place = rigid.apply(ahead, np.array([[*rng.uniform(-30, 40, 2), 0.9]]))[0]
        return np.asarray(place + np.array([0.5 * sample * self.speed(which), 0.0, 0.0]))

    @staticmethod
    def speed(which: int) -> float:
        """m/s along x of the global frame."""
        return float(which % 3) * 2.0

    @staticmethod
    def seen(which: int, sample: int) -> bool:
        """Every fifth object is hidden for a while, and every seventh is seen once."""
        if which % 7 == 6:
            return sample == 1
        return not (which % 5 == 4 and 2 <= sample <= 6)

    def _write_names(self, root: Path) -> None:
        add = self.tables.add
        for place, name in enumerate((*CATEGORIES, *self.more_categories)):
            add("category", token=token("category", name), name=name, description=name, index=place + 1)
        for name in ATTRIBUTES:
            add("attribute", token=token("attribute", name), name=name, description=name)
        for level, text in enumerate(("v0-40", "v40-60", "v60-80", "v80-100"), start=1):
            add("visibility", token=str(level), level=text, description=f"visibility {text}")
        for channel in (*NUSCENES_CAMERAS, "LIDAR_TOP", *RADARS):
            modality = "camera" if channel in NUSCENES_CAMERAS else "lidar" if channel == "LIDAR_TOP" else "radar"
            add("sensor", token=token("sensor", channel), channel=channel, modality=modality)
        (root / "maps").mkdir(parents=True, exist_ok=True)
        (root / "maps" / "map.png").write_bytes(b"")
        logs = [token("log", number) for number in range(self.scenes)]
        add("map", token=token("map"), category="semantic_prior", filename="maps/map.png", log_tokens=logs)

    def _write_scene(self, root: Path, number: int) -> None:
        scene, add = self.name_of(number), self.tables.add
        keys = [token("sample", scene, sample) for sample in range(self.samples)]
        add(
            "log",
            token=token("log", number),
            logfile=f"n015-{scene}",
            vehicle="n015",
            date_captured="2018-07-24",
            location="singapore-onenorth",
        )
        add(
            "scene",
            token=token("scene", scene),
            log_token=token("log", number),
            nbr_samples=self.samples,
            first_sample_token=keys[0],
            last_sample_token=keys[-1],
            name=scene,
            description="Made up",
        )
        for sample, key in enumerate(keys):
            before, after = _neighbours(keys, sample)
            add(
                "sample",
                token=key,
                timestamp=self.stamp(sample),
                prev=before,
                next=after,
                scene_token=token("scene", scene),
            )
        for channel in (*NUSCENES_CAMERAS, "LIDAR_TOP", *RADARS):
            self._write_sensor(root, number, channel, keys)
        if self.truth:
            self._write_objects(number, keys)

    def _write_sensor(self, root: Path, number: int, channel: str, keys: list[str]) -> None:
        scene, add, is_camera = self.name_of(number), self.tables.add, channel in NUSCENES_CAMERAS
        calibration = token("calibration", scene, channel)
        width, height = self.size
        K = [[width * 0.8, 0.0, width / 2], [0.0, width * 0.8, height / 2], [0.0, 0.0, 1.0]]
        add(
            "calibrated_sensor",
            token=calibration,
            sensor_token=token("sensor", channel),
            **pose_fields(mount(channel)),
            camera_intrinsic=K if is_camera else [],
        )
        rows = list(self._times(channel))
        tokens = [token("data", scene, channel, stamp) for stamp, _, _ in rows]
        kind = "jpg" if is_camera else "pcd"
        for place, (stamp, sample, is_key) in enumerate(rows):
            folder = f"{'samples' if is_key else 'sweeps'}/{channel}"
            suffix = ".jpg" if is_camera else ".pcd.bin" if channel == "LIDAR_TOP" else ".pcd"
            name = f"{folder}/n015-{scene}__{channel}__{stamp}{suffix}"
            before, after = _neighbours(tokens, place)
            add(
                "sample_data",
                token=tokens[place],
                sample_token=keys[sample],
                ego_pose_token=tokens[place],
                calibrated_sensor_token=calibration,
                timestamp=stamp,
                fileformat=kind,
                is_key_frame=is_key,
                height=height if is_camera else 0,
                width=width if is_camera else 0,
                filename=name,
                prev=before,
                next=after,
            )
            add("ego_pose", token=tokens[place], timestamp=stamp, **pose_fields(ego_pose(number, stamp)))
            if number < self.files and channel not in RADARS:
                (root / folder).mkdir(parents=True, exist_ok=True)
                content = self._image(channel, place) if is_camera else self._sweep(number, stamp, sample)
                (root / name).write_bytes(content)

    def _times(self, channel: str) -> Iterator[tuple[int, int, bool]]:
        """Stamp, sample and whether it belongs to the key frame, of each file of a sensor."""
        delay = CAMERA_DELAYS.get(channel, 0 if channel == "LIDAR_TOP" else 5_000)
        between = (10 if channel == "LIDAR_TOP" else 6) if self.sweeps else 1
        for sample in range(self.samples):
            for part in range(between):
                # What lies between two samples belongs to the second of them.
                stamp = self.stamp(sample) + delay - (between - 1 - part) * 500_000 // between
                yield stamp, sample, part == between - 1

    def _image(self, channel: str, place: int) -> bytes:
        if self.image is not None:
            return self.image(channel, place)
        width, height = self.size
        picture = np.full((height, width, 3), (40 * NUSCENES_CAMERAS.index(channel), place % 256, 120), np.uint8)
        return bytes(simplejpeg.encode_jpeg(picture))

    def _sweep(self, scene: int, stamp: int, sample: int) -> bytes:
        """Points at the middles of the objects, in the LiDAR's frame, and some on the ground."""
        rng = np.random.default_rng(stamp % 2**32)
        world = np.array([self.center(scene, which, sample) for which in range(self.objects)]).reshape(-1, 3)
        local = rigid.apply(rigid.inverse(ego_pose(scene, stamp) @ mount("LIDAR_TOP")), world)
        ground = np.append(rng.uniform(-40, 40, (self.points, 2)), np.full((self.points, 1), -1.84), axis=1)
        xyz = np.concatenate([local, ground])
        rest = np.stack([rng.integers(0, 256, len(xyz)), rng.integers(0, 32, len(xyz))], axis=1)
        return np.concatenate([xyz, rest], axis=1).astype("<f4").tobytes()

    def _write_objects(self, number: int, keys: list[str]) -> None:
        scene, add = self.name_of(number), self.tables.add
        for which in range(self.objects):
            name = CATEGORIES[which * 8 % len(CATEGORIES)]
            samples = [sample for sample in range(self.samples) if self.seen(which, sample)]
            tokens = [token("annotation", scene, which, sample) for sample in samples]
            if not tokens:
                continue
            instance = token("instance", scene, which)
            add(
                "instance",
                token=instance,
                category_token=token("category", name),
                nbr_annotations=len(tokens),
                first_annotation_token=tokens[0],
                last_annotation_token=tokens[-1],
            )
            kind = {"vehicle": 0, "human": 2}.get(name.split(".")[0])
            for place, sample in enumerate(samples):
                before, after = _neighbours(tokens, place)
                yaw = 0.3 * which
                add(
                    "sample_annotation",
                    token=tokens[place],
                    sample_token=keys[sample],
                    instance_token=instance,
                    visibility_token=str(1 + (which + sample) % 4),
                    attribute_tokens=[] if kind is None else [token("attribute", ATTRIBUTES[kind + which % 2])],
                    translation=self.center(number, which, sample).tolist(),
                    size=[1.9, 4.5, 1.7],
                    rotation=[float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))],
                    prev=before,
                    next=after,
                    num_lidar_pts=which * 3 % 9,
                    num_radar_pts=which % 2,
                )


def write_recorded_frame(source: Path, root: Path) -> None:
    """Write the key frame of ``../shared/data/nuscenes_scene0061_frame0``, which has another layout, in nuScenes' own.

    What the frame says is of none of the detection task's classes becomes a bicycle rack.
    """
    content = json.loads((source / "info.json").read_text())
    info, names = content["data_list"][0], {place: name for name, place in content["metainfo"]["categories"].items()}
    tables = TableFiles(root / "v1.0-mini")
    add, key = tables.add, info["token"]
    T_global_lidar = np.array(info["ego2global"]) @ np.array(info["lidar_points"]["lidar2ego"])
    stamp = round(info["timestamp"] * 1e6)
    names[-1] = "other"
    full = {name: next(each for each in CATEGORIES if each.endswith(tail)) for name, tail in _TAILS.items()}
    for name in CATEGORIES:
        add("category", token=token("category", name), name=name, description=name)
    scene = token("scene")
    add("log", token=token("log"), logfile="n015", vehicle="n015", date_captured="2018-07-24", location="singapore")
    add(
        "scene",
        token=scene,
        log_token=token("log"),
        nbr_samples=1,
        first_sample_token=key,
        last_sample_token=key,
        name="scene-0061",
        description="",
    )
    add("sample", token=key, timestamp=stamp, prev="", next="", scene_token=scene)
    lidar = {"img_path": info["lidar_points"]["lidar_path"], "timestamp": info["timestamp"]}
    for channel, entry in (*info["images"].items(), ("LIDAR_TOP", lidar)):
        is_camera = channel != "LIDAR_TOP"
        T_ego_sensor = np.array(entry["cam2ego"] if is_camera else info["lidar_points"]["lidar2ego"])
        T_lidar_sensor = rigid.inverse(np.array(entry["lidar2cam"])) if is_camera else np.eye(4)
        data = entry.get("sample_data_token", token("data", channel))
        add("sensor", token=token(channel), channel=channel, modality="camera" if is_camera else "lidar")
        add(
            "calibrated_sensor",
            token=token("calibration", channel),
            sensor_token=token(channel),
            **pose_fields(T_ego_sensor),
            camera_intrinsic=entry.get("cam2img", []),
        )
        folder = root / "samples" / channel
        folder.mkdir(parents=True, exist_ok=True)
        (folder / entry["img_path"]).write_bytes((source / entry["img_path"]).read_bytes())
        add(
            "sample_data",
            token=data,
            sample_token=key,
            ego_pose_token=data,
            calibrated_sensor_token=token("calibration", channel),
            timestamp=round(entry["timestamp"] * 1e6),
            fileformat="jpg" if is_camera else "pcd",
            is_key_frame=True,
            height=900 if is_camera else 0,
            width=1600 if is_camera else 0,
            filename=f"samples/{channel}/{entry['img_path']}",
            prev="",
            next="",
        )
        pose = pose_fields(T_global_lidar @ T_lidar_sensor @ rigid.inverse(T_ego_sensor))
        add("ego_pose", token=data, timestamp=round(entry["timestamp"] * 1e6), **pose)
    for number, item in enumerate(info["instances"]):
        x, y, z, length, width, height, yaw = item["bbox_3d"]
        instance, annotation = token("instance", number), token("annotation", number)
        add(
            "instance",
            token=instance,
            category_token=token("category", full[names[item["bbox_label_3d"]]]),
            nbr_annotations=1,
            first_annotation_token=annotation,
            last_annotation_token=annotation,
        )
        add(
            "sample_annotation",
            token=annotation,
            sample_token=key,
            instance_token=instance,
            visibility_token="",
            attribute_tokens=[],
            **pose_fields(T_global_lidar @ rigid.planar(x, y, yaw, z)),
            size=[width, length, height],
            prev="",
            next="",
            num_lidar_pts=item["num_lidar_pts"],
            num_radar_pts=item["num_radar_pts"],
        )
    tables.close()


_TAILS = {
    **{name: f".{name}" for name in ("car", "truck", "trailer", "bicycle", "motorcycle", "barrier")},
    "bus": "bus.rigid",
    "construction_vehicle": "vehicle.construction",
    "pedestrian": "pedestrian.adult",
    "traffic_cone": "trafficcone",
    "other": "bicycle_rack",
}
"""Classes of the detection task to the end of a category that is one."""


def _neighbours(tokens: list[str], place: int) -> tuple[str, str]:
    """The keys before and after, empty at the ends."""
    return (tokens[place - 1] if place else ""), (tokens[place + 1] if place + 1 < len(tokens) else "")
