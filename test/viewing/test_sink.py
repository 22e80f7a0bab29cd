"""What one frame becomes in a recording."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import simplejpeg

from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.classes import ABSENT
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Labels, PointCloud
from semlt3d_ros.core.labelled_region import LabelledRegion, ViewWindow
from semlt3d_ros.core.point_classes import UNKNOWN, point_class_names
from semlt3d_ros.messages.encode_colored import point_colors
from semlt3d_ros.viewing.confidences import confidence_page
from semlt3d_ros.viewing.rerun_sink import RerunSink
from semlt3d_ros.viewing.style import IGNORED, NOT_JUDGED


@pytest.fixture
def record(tmp_path, logged):
    def write(*shown, **options):
        sink = RerunSink(tmp_path / "one.rrd", **options)
        for each in shown:
            sink.add(*each)
        sink.close()
        return logged(tmp_path / "one.rrd")

    return write


def test_boxes_are_metres_in_the_ego_frame(record, frame, detections, labels):
    rows = record((frame, detections, labels))
    found = rows["/world/ego/detections"][0]
    assert found["Boxes3D:labels"] == ["car 0.90", "bus 0.80", "child 0.60"]
    np.testing.assert_allclose(found["Boxes3D:centers"], detections.boxes.centers[[0, 2, 1]], atol=1e-5)
    np.testing.assert_allclose(found["Boxes3D:half_sizes"], detections.boxes.sizes[[0, 2, 1]] / 2, atol=1e-6)
    assert found["Boxes3D:quaternions"][0] == pytest.approx([0, 0, np.sin(0.15), np.cos(0.15)], abs=1e-6)
    # One colour per frequency group, none of them that of the truth.
    colors = set(found["Boxes3D:colors"]) | set(rows["/world/ego/truth"][0]["Boxes3D:colors"])
    assert len(colors) == 4
    assert rows["/world/ego"][0]["Transform3D:translation"] == [pytest.approx([100.0, 50.0, 0.0])]


def test_only_what_moves_has_an_arrow(record, frame, detections):
    arrows = record((frame, detections))["/world/ego/velocities"][0]
    assert arrows["Arrows3D:vectors"] == [pytest.approx([8.0, 1.0, 0.0])]
    assert arrows["Arrows3D:origins"] == [pytest.approx([15.0, 0.0, 0.8])]


def test_outlines_lie_in_the_images_that_see_the_box(record, frame, detections, labels):
    rows = record((frame, detections, labels))
    for name, seen in (("CAM_FRONT", True), ("CAM_FRONT_LEFT", True), ("CAM_BACK", True), ("CAM_FRONT_RIGHT", False)):
        for layer in ("detections", "truth"):
            strips = rows[f"/cameras/{name}/{layer}"][0].get("LineStrips2D:strips")
            assert bool(strips) == seen, (name, layer)
    car = np.concatenate(rows["/cameras/CAM_FRONT/detections"][0]["LineStrips2D:strips"])
    # 15 m ahead of a camera with a focal length of 260 pixels, so near the middle and some 70 pixels wide at most.
    assert np.abs(car[:, 0] - 223.5).max() < 80
    assert (car[:, 1] > 127.5).all() or np.ptp(car[:, 1]) < 60


def test_wide_images_are_scaled_down_with_their_outlines(record, frame, detections, view):
    wide = view("CAM_FRONT", 0.0)
    camera = CameraModel(448, 256, wide.camera.K).resized(1792, 1024)
    wide = replace(wide, image=np.full((1024, 1792, 3), 90, np.uint8), camera=camera)
    small = record((replace(frame, views=(wide,)), detections), image_width=448)
    jpeg = bytes(small["/cameras/CAM_FRONT"][0]["EncodedImage:blob"][0])
    assert simplejpeg.decode_jpeg(jpeg).shape == (256, 448, 3)
    same = record((frame, detections))
    for ours, theirs in zip(
        small["/cameras/CAM_FRONT/detections"][0]["LineStrips2D:strips"],
        same["/cameras/CAM_FRONT/detections"][0]["LineStrips2D:strips"],
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_nothing_stays_on_screen_from_an_earlier_frame(record, frame, detections, labels):
    later = replace(
        frame, stamp=frame.stamp + 10**9, views=frame.views[:5], missing=("CAM_FRONT_LEFT",), points=None, labels=None
    )
    rows = record((frame, detections, labels), (later, None, None))
    for entity in ("world/ego/detections", "world/ego/truth", "world/ego/points", "world/ego/velocities"):
        assert rows[f"/{entity}"][1].get("Clear:is_recursive") == [False], entity
    for entity in ("cameras/CAM_FRONT/detections", "cameras/CAM_FRONT/truth"):
        assert rows[f"/{entity}"][1].get("Clear:is_recursive") == [False], entity
    assert rows["/cameras/CAM_FRONT_LEFT"][1].get("Clear:is_recursive") == [True]


def test_the_frames_own_labels_are_shown_unless_others_are_given(record, frame, labels):
    assert len(record((replace(frame, labels=labels),))["/world/ego/truth"][0]["Boxes3D:centers"]) == 3
    assert len(record((replace(frame, labels=labels), None, labels[:1]))["/world/ego/truth"][0]["Boxes3D:centers"]) == 1


def test_confidence_page_lists_the_best_boxes_and_their_classes(frame, detections):
    page = confidence_page(replace(frame, missing=("CAM_BACK",)), detections, 0.3)
    rows = [line for line in page.splitlines() if " m |" in line]
    assert len(rows) == 3
    assert rows[0].startswith("| 15.0 m | █████████ car 0.90, █ ")
    assert "missing: CAM_BACK" in page
    assert "debris" not in page
    assert "no detections" in confidence_page(frame, None, 0.3)
    assert confidence_page(frame, detections, 0.95) == "0 boxes at 0.95 or above"


def test_confidence_page_tells_experts_and_uncertainty_where_they_are_known(frame, detections):
    count = len(detections)
    told = replace(
        detections,
        expert_weights=np.tile(np.float32([0.2, 0.0, 0.7, 0.0]), (count, 1)),
        depth_uncertainty=np.full(count, 0.84, np.float32),
    )
    page = confidence_page(frame, told, 0.3)
    assert "| distance | classes | experts |" in page
    row = next(line for line in page.splitlines() if "car 0.90" in line)
    assert row.startswith("| 15.0 ± 0.8 m | ") and row.endswith(" | 2: 0.70, 0: 0.20 |")
    assert "experts" not in confidence_page(frame, detections, 0.3)


def test_classes_added_by_language_are_shown_like_others(record, frame, detections):
    added = np.zeros((len(detections), 1), np.float32)
    added[0] = 0.95
    names = (*detections.class_names, "fallen tree")
    told = replace(detections, confidences=np.hstack([detections.confidences, added]), class_names=names)
    assert record((frame, told))["/world/ego/detections"][0]["Boxes3D:labels"][0] == "fallen tree 0.95"
    assert "fallen tree 0.95" in confidence_page(frame, told, 0.3)


def test_boxes_of_other_classes_are_drawn_with_their_names_and_colours(record, frame, detections, labels):
    names = ("deer", "person", "tram")
    own = replace(detections, confidences=detections.confidences[:, [0, 9, 3]], class_names=names)
    true = Labels(labels.boxes, np.array([2, ABSENT, 0]), class_names=names)
    rows = record((frame, own, true))
    shown = rows["/world/ego/detections"][0]
    assert [text.split()[0] for text in shown["Boxes3D:labels"]] == ["deer", "tram", "person"]
    assert len(set(shown["Boxes3D:colors"])) == 3
    assert rows["/world/ego/truth"][0]["Boxes3D:labels"] == ["tram", IGNORED, "deer"]
    mapped = record((frame, own, true.as_classes((1, ABSENT, 0), ("wagon", "elk"))))["/world/ego/truth"][0]
    assert mapped["Boxes3D:labels"] == ["wagon", IGNORED, "elk"], "nobody knows what it is"
    mapped = record((frame, own, true.as_classes((1, 0, ABSENT), ("wagon", "elk"))))["/world/ego/truth"][0]
    assert mapped["Boxes3D:labels"] == [f"tram {IGNORED}", IGNORED, "elk"]
    assert mapped["Boxes3D:colors"][0] == mapped["Boxes3D:colors"][1] != mapped["Boxes3D:colors"][2]


def test_where_ground_truth_is_not_complete_is_seen(record, frame, detections, labels):
    window = ViewWindow(frame.views[0].T_ego_camera, -0.5, -0.4, 0.5, 0.4)
    part = replace(frame, region=LabelledRegion((window,), (replace(window, left=0.3),)))
    later = replace(frame, stamp=frame.stamp + 10**9)
    plain, rows = record((frame, detections, labels)), record((part, detections, labels), (later, detections, labels))
    assert not any("labelled" in entity for entity in plain)
    # The car lies within; the bus lies behind, and the child beside the window.
    found = rows["/world/ego/detections"]
    assert found[0]["Boxes3D:labels"] == ["car 0.90", f"bus 0.80 {NOT_JUDGED}", f"child 0.60 {NOT_JUDGED}"]
    assert rows["/world/ego/truth"][0]["Boxes3D:labels"] == ["car", f"child {NOT_JUDGED}", f"bus {NOT_JUDGED}"]
    usual = plain["/world/ego/detections"][0]
    assert [a == b for a, b in zip(found[0]["Boxes3D:colors"], usual["Boxes3D:colors"], strict=True)] == [1, 0, 0]
    assert found[1]["Boxes3D:labels"] == usual["Boxes3D:labels"]
    for entity in ("/world/ego/labelled", "/cameras/CAM_FRONT/labelled"):
        shown, gone = rows[entity]
        assert len(set(shown[next(key for key in shown if key.endswith("colors"))])) == 2, entity
        assert gone["Clear:is_recursive"] == [False], entity
    assert "/cameras/CAM_BACK/labelled" not in rows


def test_dense_clouds_are_thinned_and_empty_ones_are_none(record, frame):
    dense = PointCloud(np.random.default_rng(0).uniform(-30, 30, (150_000, 3)).astype(np.float32))
    empty = replace(frame, stamp=frame.stamp + 1, points=PointCloud(np.zeros((0, 3), np.float32)))
    rows = record((replace(frame, points=dense),), (empty,))["/world/ego/points"]
    assert len(rows[0]["Points3D:positions"]) == len(rows[0]["Points3D:colors"]) == 50_000
    assert rows[1].get("Clear:is_recursive") == [False]


def test_a_recording_that_fails_leaves_the_earlier_one(tmp_path, frame, logged):
    path = tmp_path / "one.rrd"
    with RerunSink(path) as sink:
        sink.add(frame)
        assert not path.exists()
    rows = logged(path)
    with pytest.raises(KeyError), RerunSink(path) as sink:
        sink.add(frame)
        sink.add(replace(frame, stamp=frame.stamp + 1))
        raise KeyError
    assert logged(path) == rows
    begun = tmp_path / "one.unfinished.rrd"
    assert len(logged(begun)["/world/ego/points"]) == 2, "what was recorded so far is for the user"
    begun.unlink()
    assert [each.name for each in tmp_path.iterdir()] == ["one.rrd"]


def test_a_disk_that_fills_up_ends_the_recording_in_one_line(tmp_path):
    # In a process of its own, since rerun may wait for ever for a file that it cannot write.
    (tmp_path / "one.rrd").write_bytes(b"earlier")
    program = """if True:
        import resource, sys
        import numpy as np
        from pathlib import Path
        from semlt3d_ros.core.cameras import CameraModel
        from semlt3d_ros.core.frame import CameraView, Frame
        from semlt3d_ros.viewing.rerun_sink import RerunSink
        camera = CameraModel(640, 480, np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]))
        images = np.random.default_rng(0).integers(0, 255, (20, 480, 640, 3), np.uint8)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
        try:
            with RerunSink(Path(sys.argv[1])) as sink:
                for stamp, image in enumerate(images):
                    sink.add(Frame(stamp, (CameraView("C", stamp, image, camera, np.eye(4)),)))
        except Exception as error:
            print(type(error).__name__, error)
    """
    for size in ("1000", "100000", "1000000"):
        words = [sys.executable, "-c", program, str(tmp_path / "one.rrd"), size]
        result = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert "one.rrd" in result.stdout and "File too large" in result.stdout + result.stderr
        assert [each.name for each in tmp_path.iterdir()] == ["one.rrd"]
        assert (tmp_path / "one.rrd").read_bytes() == b"earlier"


def test_a_recording_must_go_somewhere():
    with pytest.raises(ConfigurationError, match="file or a viewer"):
        RerunSink()


def test_points_have_the_colours_of_what_they_lie_on(record, frame, detections):
    names = point_class_names(detections.class_names)
    classes = np.array([0, len(detections.class_names), UNKNOWN, 999], np.int16)
    cloud = PointCloud(np.arange(12, dtype=np.float32).reshape(4, 3), classes=classes)
    told = record((replace(frame, points=cloud), detections))["/world/ego/points"][0]["Points3D:colors"]
    colors = point_colors(names).astype(np.uint32) @ np.array([1 << 24, 1 << 16, 1 << 8], np.uint32) + 255
    assert told == colors[[0, len(detections.class_names), -1, -1]].tolist()
    by_height = record((replace(frame, points=replace(cloud, classes=None)), detections))["/world/ego/points"][0]
    assert by_height["Points3D:colors"] != told
