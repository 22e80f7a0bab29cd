from dataclasses import replace

import numpy as np
import pytest

from semlt3d_ros.core import rigid
from semlt3d_ros.core.classes import list_of_names
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.point_classes import BACKGROUND, point_class_names
from semlt3d_ros.core.taxonomy import CLASS_NAMES, LT3D
from semlt3d_ros.datasets.generate import generate_shards, main
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.datasets.shards import ShardDataset
from semlt3d_ros.datasets.simulated import digest
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.simulation.clutter import leaves
from semlt3d_ros.simulation.drive import Drive, DriveConfig
from semlt3d_ros.simulation.generation import GenerationRecipe
from semlt3d_ros.simulation.lidar_models import varied_lidar
from semlt3d_ros.simulation.road import make_road
from semlt3d_ros.simulation.scene import World
from semlt3d_ros.simulation.scenery import make_part
from semlt3d_ros.simulation.terrain import make_terrain

RECIPE = GenerationRecipe(
    500, drives=3, frames=2, interval_s=0.1, drives_per_shard=2, lidar="varied", cameras=False, point_limit=20_000
)
GROUND, BUILDING, VEGETATION, OTHER = (len(CLASS_NAMES) + BACKGROUND.index(name) for name in BACKGROUND)


@pytest.fixture(scope="module")
def drives() -> list[Drive]:
    return [Drive(RECIPE.drive(seed)) for seed in range(500, 506)]


def test_a_drive_gives_the_same_points_every_time() -> None:
    first, second = (Drive(RECIPE.drive(500)).frame(1) for _ in range(2))
    for name in ("xyz", "intensity", "time", "classes"):
        assert np.array_equal(getattr(first.points, name), getattr(second.points, name))
    assert np.array_equal(first.labels.boxes.centers, second.labels.boxes.centers)


def test_every_drive_has_another_lidar() -> None:
    lidars = [varied_lidar(np.random.default_rng([seed, 4])) for seed in range(150)]
    assert len({lidar.elevations_deg for lidar in lidars}) >= 10 and len({lidar.position for lidar in lidars}) == 150
    beams = [lidar.beams for lidar in lidars]
    assert min(beams) == 16 and max(beams) == 128
    assert all(lidar.beams == len(lidar.elevations_deg) for lidar in lidars)
    assert all(1.5 < lidar.position[2] < 3.3 for lidar in lidars)
    effects = [lidar.effects for lidar in lidars]
    assert {one.own for one in effects} == {"absent", "seen", "removed"}
    for name in ("intensity", "compensated", "stamp_at"):
        assert len({getattr(one, name) for one in effects}) == 2
    assert 0.5 < np.mean([one.dead_beams == () for one in effects]) < 1
    assert 0.5 < np.mean([one.blind_deg == () for one in effects]) < 1


def test_points_say_what_they_lie_on(drives) -> None:
    found = np.zeros(len(point_class_names(CLASS_NAMES)), int)
    inside, all_points = 0, 0
    for drive in drives:
        frame = drive.frame(0)
        points, labels = frame.points, frame.labels
        assert points.classes.dtype == np.int16 and len(points.classes) == len(points)
        found += np.bincount(points.classes, minlength=len(found))
        near = points[np.hypot(points.xyz[:, 0], points.xyz[:, 1]) < 40]
        objects = near[near.classes < len(CLASS_NAMES)]
        contained = labels.boxes.contains(objects.xyz, 0.15)
        inside += (contained & (labels.class_ids[:, None] == objects.classes)).any(axis=0).sum()
        all_points += len(objects)
    assert (found[[GROUND, BUILDING, VEGETATION, OTHER]] > 300).all() and found[0] > 1000
    assert inside > 0.95 * all_points


def test_boxes_lie_where_the_points_of_an_uncorrected_turn_are() -> None:
    inside, total = 0, 0
    for seed in (549, 565, 616):
        drive = Drive(RECIPE.drive(seed))
        assert not drive.config.lidar.effects.compensated and drive.ego_pose(0.0)[1] > 5
        frame = drive.frame(0)
        near = frame.points[(np.abs(frame.points.xyz[:, :2]) < 20).all(axis=1)]
        cars = near[near.classes == 0]
        own = frame.labels.boxes[frame.labels.class_ids == 0]
        inside += own.contains(cars.xyz, 0.1).any(axis=0).sum()
        total += len(cars)
    assert total > 5000 and inside > 0.95 * total


def test_even_worlds_say_it_too() -> None:
    frame = Drive(DriveConfig(3, frames=1, image_size=(16, 8), objects=(12, 14))).frame(0)
    points = frame.points
    ground = points.classes == GROUND
    assert ground.any() and np.abs(points.xyz[ground, 2]).max() < 0.1
    for k in np.flatnonzero(frame.labels.lidar_points > 5):
        own = frame.labels.boxes[k : k + 1].contains(points.xyz, 0.08)[0] & (points.xyz[:, 2] > 0.1)
        values, counts = np.unique(points.classes[own], return_counts=True)
        assert values[np.argmax(counts)] == frame.labels.class_ids[k]


def test_vehicles_and_objects_stand_on_the_ground(drives) -> None:
    lifts = []
    for drive in drives:
        frame = drive.frame(0)
        pose = frame.T_world_ego
        assert pose[:3, :3] @ pose[:3, :3].T == pytest.approx(np.eye(3), abs=1e-9)
        terrain = drive._terrain
        wheels = rigid.apply(pose, np.array([(2.8, 0.8, 0), (2.8, -0.8, 0), (0, 0.8, 0), (0, -0.8, 0)]))
        assert wheels[:, 2] == pytest.approx(terrain.height(wheels[:, 0], wheels[:, 1]), abs=0.12)
        assert (wheels[:, 2] - terrain.height(wheels[:, 0], wheels[:, 1])).mean() == pytest.approx(0, abs=0.01)
        static = drive._world._static_pose
        assert np.abs(static[:, 2] - terrain.height(static[:, 0], static[:, 1])).max() < 2.5
        assert np.corrcoef(static[:, 2], terrain.height(static[:, 0], static[:, 1]))[0, 1] > 0.8
        boxes = frame.labels.boxes.moved(pose)
        bottoms = boxes.centers[:, 2] - boxes.sizes[:, 2] / 2
        lifts.extend(bottoms - terrain.height(boxes.centers[:, 0], boxes.centers[:, 1]))
    assert np.percentile(np.abs(lifts), 90) < 0.2


def test_the_ground_is_not_flat_and_its_mesh_is_as_high_as_it_says() -> None:
    ranges = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        road = make_road(rng, 200.0)
        terrain = make_terrain(rng, road)
        vertices, faces = terrain.mesh(-60.0, 60.0)
        near = np.abs(vertices[:, :2]).max(axis=1) < 40
        assert vertices[near, 2] == pytest.approx(terrain.height(vertices[near, 0], vertices[near, 1]), abs=0.25)
        assert np.abs(vertices[near, 2] - terrain.height(vertices[near, 0], vertices[near, 1])).mean() < 0.01
        corners = vertices[faces].astype(np.float64)
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2]
        assert (normal > 0).all() or (normal < 0).all()
        beside = road.half_width + np.array([-0.01, 0.01])
        xy, _ = road.to_world(55.0, beside)
        assert np.diff(terrain.height(xy[:, 0], xy[:, 1]))[0] == pytest.approx(terrain.kerb, abs=0.005)
        ranges.append(np.ptp(terrain.height(np.linspace(-40, 40, 50), np.zeros(50))))
    assert max(ranges) > 0.6 and min(ranges) < 0.3


def test_light_passes_leaves_and_more_of_them_let_less_through() -> None:
    shares, rng = [], np.random.default_rng(0)
    y, z = np.meshgrid(np.linspace(-1, 1, 60), np.linspace(2, 4, 60))
    start = np.stack([np.full(y.size, -9.0), y.ravel(), z.ravel()], axis=-1).astype(np.float32)
    ahead = np.tile(np.float32([1, 0, 0]), (len(start), 1))
    for density in (0.1, 0.4, 1.0):
        mesh = leaves(rng, np.array([0, 0, 3.0]), np.array([1.5, 1.5, 2.0]), density)
        part = make_part(mesh, np.full(3, 90.0), (0.0, 0.0, 0.0), 0, kind="vegetation")
        hits = World([], [part]).posed(np.zeros((0, 4)), np.zeros(2)).cast(start, ahead)
        shares.append(float((hits.face < 0).mean()))
    assert 0.97 > shares[0] > shares[1] > shares[2] > 0.02


def test_parked_rows_bring_cars_close_to_each_other(drives) -> None:
    gaps = []
    for drive in drives:
        boxes = drive.frame(0).labels.boxes
        apart = np.hypot(*(boxes.centers[:, None, :2] - boxes.centers[None, :, :2]).T) + 99 * np.eye(len(boxes))
        gaps.append(np.median(apart.min(axis=0)))
    assert np.median(gaps) < 4.0


def test_frames_without_cameras_are_stored_and_found_again(tmp_path) -> None:
    generate_shards(tmp_path / digest(RECIPE), RECIPE, processes=1, progress=False)
    stored = ShardDataset([tmp_path / digest(RECIPE)])
    assert len(stored) == 6 and stored.sequences.tolist() == [500, 500, 501, 501, 502, 502]
    frame, drive = stored[3], Drive(RECIPE.drive(501)).frame(1)
    assert frame.views == () and frame.missing == () and np.array_equal(frame.T_world_ego, drive.T_world_ego)
    assert len(frame.points) <= 20_000 and set(frame.points.classes) <= set(range(22))
    assert (frame.labels.visible_pixels == -1).all()
    assert np.array_equal(frame.labels.lidar_points, drive.labels.lidar_points)


def test_points_follow_the_classes_of_a_recipe(tmp_path) -> None:
    recipe = replace(RECIPE, drives=1)
    classes = list_of_names(("adult", "car"), LT3D, "few")
    with Frames([DataSpec(recipe)], tmp_path, ImageSpec(96, 42), LT3D) as frames:
        frames.wait(0)
        before = frames.frame(0).points.classes
    with Frames([DataSpec(recipe)], tmp_path, ImageSpec(96, 42), classes) as frames:
        after = frames.frame(0).points.classes
    expected = np.full(len(before), -1)
    expected[before == CLASS_NAMES.index("adult")] = 0
    expected[before == CLASS_NAMES.index("car")] = 1
    background = before >= len(CLASS_NAMES)
    expected[background] = before[background] - len(CLASS_NAMES) + 2
    assert np.array_equal(after, expected) and {0, 1, 2, 3, -1} <= set(after)


def test_the_command_writes_points_alone(tmp_path) -> None:
    arguments = ["--first-seed", "500", "--drives", "1", "--frames", "1", "--processes", "1", "--quiet"]
    arguments += ["--lidar", "varied", "--no-cameras", "--point-limit", "20000"]
    assert main([str(tmp_path), *arguments]) == 0
    got, drive = ShardDataset([tmp_path])[0], Drive(RECIPE.drive(500)).frame(0)
    assert got.views == () and got.points.classes is not None and len(got.points) <= len(drive.points)


@pytest.mark.parametrize("values", [{"point_limit": 0}, {"cameras": False, "regions": True}])
def test_recipes_that_make_no_sense_are_refused(values) -> None:
    with pytest.raises(ConfigurationError, match="generation recipe"):
        GenerationRecipe(**values)


def test_new_entries_are_part_of_what_frames_are_found_by() -> None:
    recipes = [GenerationRecipe(), GenerationRecipe(lidar="varied"), GenerationRecipe(cameras=False), RECIPE]
    assert len({digest(recipe) for recipe in [*recipes, GenerationRecipe(point_limit=20_000)]}) == 5


def test_a_drive_without_cameras_has_no_regions(drives) -> None:
    with pytest.raises(ConfigurationError, match="without cameras"):
        drives[0].regions(0, drives[0].frame(0).labels, 1)


def test_cameras_see_the_rough_world_too() -> None:
    config = DriveConfig(7, frames=1, image_size=(112, 64), rough=True, objects=(16, 18))
    frame = Drive(config).frame(0)
    assert len(frame.views) == 6 and (frame.labels.visible_pixels > 20).any()
    assert min(view.image.std() for view in frame.views) > 5
