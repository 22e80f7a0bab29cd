from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.building import build_header
from semlt3d_ros.messages.decode import decode_point_cloud
from semlt3d_ros.messages.encode import encode_point_cloud
from semlt3d_ros.messages.typestore import message_class

STAMP = 1_700_000_000_250_000_000
CODES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}


@dataclass
class Layout:
    """Fields as (name, NumPy code, bytes left free before it), and what surrounds points and rows."""

    fields: list[tuple[str, str, int]]
    point_padding: int = 0
    row_padding: int = 0
    height: int = 1
    big_endian: bool = False


def cloud(columns: dict[str, np.ndarray], layout: Layout, **changes: Any) -> Any:
    order = ">" if layout.big_endian else "<"
    offset, offsets = 0, []
    for _, code, gap in layout.fields:
        offsets.append(offset + gap)
        offset += gap + np.dtype(code).itemsize
    point_step = offset + layout.point_padding
    formats = [order + code for _, code, _ in layout.fields]
    names = [name for name, _, _ in layout.fields]
    dtype = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": point_step})
    count = len(next(iter(columns.values())))
    width = count // layout.height
    row_step = width * point_step + layout.row_padding
    data = np.full(layout.height * row_step, 0xA5, np.uint8)
    table = np.ndarray((layout.height, width), dtype, data.data, strides=(row_step, point_step))
    for name, values in columns.items():
        table[name] = values.reshape(layout.height, width)
    field = message_class("sensor_msgs/msg/PointField")
    message = {
        "header": build_header(message_class, STAMP, "lidar"),
        "height": layout.height,
        "width": width,
        "fields": [
            field(name=name, offset=place, datatype=CODES[code], count=1)
            for (name, code, _), place in zip(layout.fields, offsets, strict=True)
        ],
        "is_bigendian": layout.big_endian,
        "point_step": point_step,
        "row_step": row_step,
        "data": data,
        "is_dense": True,
    }
    return message_class(topics.POINT_CLOUD_TYPE)(**(message | changes))


XYZ = [("x", "f4", 0), ("y", "f4", 0), ("z", "f4", 0)]


def plain(count: int) -> dict[str, np.ndarray]:
    return {name: np.arange(count, dtype=np.float64) + k for k, name in enumerate("xyz")}


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    code = draw(st.sampled_from(["f4", "f8"]))
    fields = [(name, code) for name in "xyz"]
    fields += draw(st.lists(st.sampled_from([("ring", "u2"), ("label", "u1"), ("range", "u4")]), unique=True))
    fields += draw(st.lists(st.sampled_from([("intensity", "f4"), ("intensity", "u1")]), max_size=1))
    order = draw(st.permutations(fields))
    return Layout(
        [(name, kind, draw(st.integers(0, 5))) for name, kind in order],
        point_padding=draw(st.integers(0, 9)),
        row_padding=draw(st.integers(0, 9)),
        height=draw(st.integers(1, 4)),
        big_endian=draw(st.booleans()),
    )


@given(layouts(), st.integers(0, 6), st.randoms())
@settings(max_examples=120, deadline=None)
def test_any_layout_gives_the_same_points(layout: Layout, width: int, random: Any) -> None:
    rng = np.random.default_rng(random.randrange(2**32))
    count = width * layout.height
    codes = {name: code for name, code, _ in layout.fields}
    columns: dict[str, np.ndarray] = {name: rng.normal(0, 40, count) for name in "xyz"}
    columns["x"][rng.random(count) < 0.2] = np.nan
    columns["z"][rng.random(count) < 0.1] = np.inf
    for name in codes.keys() - set("xyz"):
        columns[name] = rng.integers(0, 256, count)
    if codes.get("intensity") == "f4":
        columns["intensity"] = rng.random(count)

    decoded = decode_point_cloud(cloud(columns, layout))

    keep = np.isfinite(np.stack([columns[name] for name in "xyz"])).all(axis=0)
    expected = np.stack([columns[name][keep] for name in "xyz"], axis=1)
    np.testing.assert_allclose(decoded.xyz, expected, rtol=1e-6)
    assert decoded.xyz.dtype == np.float32 and decoded.time is None
    if "intensity" in codes:
        scale = 255.0 if codes["intensity"] == "u1" else 1.0
        np.testing.assert_allclose(decoded.intensity, columns["intensity"][keep] / scale, rtol=1e-6)
    else:
        assert decoded.intensity is None


@pytest.mark.parametrize(
    ("name", "code", "values", "expected"),
    [
        ("intensity", "f4", [0.0, 0.5, 1.0], [0.0, 0.5, 1.0]),
        ("intensity", "f4", [0.0, 51.0, 255.0], [0.0, 0.2, 1.0]),
        ("intensity", "f4", [0.0, np.nan, 300.0], [0.0, 0.0, 1.0]),
        ("i", "u1", [0, 51, 255], [0.0, 0.2, 1.0]),
        ("reflectivity", "u2", [0, 51, 255], [0.0, 0.2, 1.0]),
        ("reflectivity", "u2", [0, 13107, 65535], [0.0, 0.2, 1.0]),
    ],
)
def test_intensities_come_in_0_to_1(name: str, code: str, values: list[float], expected: list[float]) -> None:
    decoded = decode_point_cloud(cloud(plain(3) | {name: np.array(values)}, Layout([*XYZ, (name, code, 0)])))
    np.testing.assert_allclose(decoded.intensity, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "code", "values"),
    [
        ("t", "u4", [0, 50_000_000, 100_000_000]),
        ("time", "f4", [0.0, 0.05, 0.1]),
        ("time_offset", "f8", [0.0, 0.05, 0.1]),
        ("offset_time", "u4", [0, 50_000_000, 100_000_000]),
        ("timestamp", "f8", [STAMP * 1e-9, STAMP * 1e-9 + 0.05, STAMP * 1e-9 + 0.1]),
        ("timestamp", "f8", [float(STAMP), STAMP + 5e7, STAMP + 1e8]),
        ("timestamp", "f8", [0.0, 5e7, 1e8]),
    ],
)
def test_times_come_in_seconds_from_the_stamp(name: str, code: str, values: list[float]) -> None:
    decoded = decode_point_cloud(cloud(plain(3) | {name: np.array(values)}, Layout([*XYZ, (name, code, 0)])))
    assert decoded.time is not None
    np.testing.assert_allclose(decoded.time, [0.0, 0.05, 0.1], atol=1e-6)


@pytest.mark.parametrize(
    ("code", "values"), [("f4", [0, 1e30, 2e30]), ("f8", [0, np.nan, 0.1]), ("u4", [0, 1, 2**32 - 1])]
)
def test_times_that_make_no_sense_are_left_out(code: str, values: list[float]) -> None:
    decoded = decode_point_cloud(cloud(plain(3) | {"time": np.array(values)}, Layout([*XYZ, ("time", code, 0)])))
    assert decoded.time is None and len(decoded) == 3


@pytest.mark.parametrize(
    ("fields", "changes", "reason"),
    [
        ([("x", "f4", 0), ("y", "f4", 0)], {}, "cloud_fields"),
        (XYZ, {"fields": []}, "cloud_fields"),
        (XYZ, {"point_step": 11}, "cloud_fields"),
        (XYZ, {"point_step": 0}, "cloud_fields"),
        (XYZ, {"width": 5}, "cloud_size"),
        (XYZ, {"height": 2}, "cloud_size"),
        (XYZ, {"height": 2, "width": 2, "row_step": 4, "data": np.zeros(50, np.uint8)}, "cloud_size"),
        (XYZ, {"height": 2, "width": 2, "row_step": 0, "data": np.zeros(47, np.uint8)}, "cloud_size"),
        (XYZ, {"height": 2**31, "width": 2**31}, "cloud_size"),
        (XYZ, {"data": np.zeros(0, np.uint8)}, "cloud_size"),
    ],
)
def test_clouds_that_do_not_fit_are_rejected(fields: Any, changes: dict[str, Any], reason: str) -> None:
    columns = {name: values for name, values in plain(4).items() if name in [field[0] for field in fields]}
    with pytest.raises(InputRejected, match="point cloud of frame 'lidar'") as caught:
        decode_point_cloud(cloud(columns, Layout(fields), **changes))
    assert caught.value.reason == reason


def test_an_unknown_datatype_is_rejected() -> None:
    message = cloud(plain(2), Layout(XYZ))
    message.fields[1].datatype = 42
    with pytest.raises(InputRejected, match="field 'y' has the unknown datatype 42"):
        decode_point_cloud(message)


@pytest.mark.parametrize("row_step", [0, 3, 6 * 12, 12, 2**32 - 1])
def test_organised_clouds_whose_row_step_is_not_filled_are_read_and_told(row_step: int) -> None:
    columns = plain(6)
    message = cloud(columns, Layout(XYZ), height=2, width=3, row_step=row_step)
    told: list[tuple[str, str]] = []
    decoded = decode_point_cloud(message, lambda reason, text: told.append((reason, text)))
    np.testing.assert_array_equal(decoded.xyz[:, 0], columns["x"])
    ((reason, text),) = told
    assert reason == "row_step" and f"row_step is {row_step};" in text and "2 rows of 3 points of 12 bytes" in text


def test_a_row_step_that_fits_is_not_told() -> None:
    told: list[tuple[str, str]] = []
    decode_point_cloud(cloud(plain(6), Layout(XYZ), height=2, width=3, row_step=36), lambda *note: told.append(note))
    decode_point_cloud(cloud(plain(6), Layout(XYZ)), lambda *note: told.append(note))
    assert not told


@pytest.mark.parametrize("change", ["datatype", "offset"])
def test_a_bad_field_costs_no_good_one(change: str) -> None:
    columns = plain(4) | {"intensity": np.full(4, 0.5)}
    message = cloud(columns, Layout([*XYZ, ("intensity", "f4", 0)]))
    setattr(message.fields[3], change, 200)
    told: list[tuple[str, str]] = []
    decoded = decode_point_cloud(message, lambda reason, text: told.append((reason, text)))
    assert decoded.intensity is None
    np.testing.assert_array_equal(decoded.xyz[:, 0], columns["x"])
    assert told[0][0] == "cloud_fields" and "'intensity'" in told[0][1]


@pytest.mark.parametrize("offsets", [(0, 0, 0), (0, 4, 6), (0, 8, 8)])
def test_coordinates_that_overlap_are_refused(offsets: tuple[int, int, int]) -> None:
    message = cloud(plain(6), Layout(XYZ))
    for field, offset in zip(message.fields, offsets, strict=True):
        field.offset = offset
    with pytest.raises(InputRejected, match=f"overlap: x at 0 .4 bytes., y at {offsets[1]}") as caught:
        decode_point_cloud(message)
    assert caught.value.reason == "cloud_fields"


def test_the_good_one_of_two_fields_of_one_name_is_taken() -> None:
    columns = plain(4)
    message = cloud(columns, Layout(XYZ))
    bad = dataclasses.replace(message.fields[0], offset=4000)
    message.fields.insert(0, bad)
    np.testing.assert_array_equal(decode_point_cloud(message).xyz[:, 0], columns["x"])


def test_a_cloud_without_points_is_no_error() -> None:
    message = cloud(plain(4), Layout(XYZ), width=0, row_step=0, data=np.zeros(0, np.uint8))
    assert len(decode_point_cloud(message)) == 0


def test_clouds_round_trip(types: Any) -> None:
    rng = np.random.default_rng(0)
    points = PointCloud(
        rng.normal(size=(50, 3)).astype(np.float32),
        rng.random(50).astype(np.float32),
        (rng.random(50) / 10).astype(np.float32),
    )
    decoded = decode_point_cloud(encode_point_cloud(points, STAMP, "lidar", types=types))
    np.testing.assert_array_equal(decoded.xyz, points.xyz)
    np.testing.assert_array_equal(decoded.intensity, points.intensity)
    np.testing.assert_array_equal(decoded.time, points.time)


def test_classes_round_trip_beside_rings(types: Any) -> None:
    points = PointCloud(np.ones((4, 3), np.float32), classes=np.array([0, 300, -1, 21], np.int16))
    message = encode_point_cloud(points, STAMP, "lidar", types=types, rings=np.arange(4, dtype=np.uint16))
    assert [field.name for field in message.fields] == ["x", "y", "z", "ring", "point_class"]
    decoded = decode_point_cloud(message)
    np.testing.assert_array_equal(decoded.classes, points.classes)
    np.testing.assert_array_equal(decoded.xyz, points.xyz)


@pytest.mark.parametrize(("values", "told"), [(np.array([3, 70000], "u4"), [3, -1]), (np.ones(2, "f4"), None)])
def test_classes_are_integers_that_fit(values: np.ndarray, told: list[int] | None) -> None:
    columns = plain(2)
    columns["point_class"] = values
    fields = [*XYZ, ("point_class", values.dtype.str[1:], 0)]
    classes = decode_point_cloud(cloud(columns, Layout(fields))).classes
    assert (classes is None and told is None) or classes.tolist() == told


@pytest.mark.parametrize("count", [0, 3])
def test_bare_points_round_trip(types: Any, count: int) -> None:
    decoded = decode_point_cloud(
        encode_point_cloud(PointCloud(np.ones((count, 3), np.float32)), STAMP, "lidar", types=types)
    )
    assert len(decoded) == count and decoded.intensity is None and decoded.time is None
