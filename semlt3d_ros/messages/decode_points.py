"""Points out of ``sensor_msgs/PointCloud2``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.frame import PointCloud
from semlt3d_ros.core.point_classes import UNKNOWN
from semlt3d_ros.messages.buffers import byte_buffer
from semlt3d_ros.messages.decode_geometry import stamp_of

_DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
"""NumPy codes of ``sensor_msgs/PointField``'s datatypes."""

_INTENSITY_NAMES = ("intensity", "i", "reflectivity")
_TIME_NAMES = ("t", "time", "timestamp", "time_offset", "offset_time")
POINT_CLASS_FIELD = "point_class"
"""What points lie on, in this package's bags: ``label``, as other people's clouds have it, may mean anything."""
_LONGEST_SWEEP_S = 1.0
"""No spinning or scanning LiDAR takes longer for one cloud; larger times have another unit or origin."""


Note = Callable[[str, str], None]
"""Takes reason and text of something that was put right."""


def decode_point_cloud(message: Any, note: Note = lambda reason, text: None) -> PointCloud:
    """The points of ``sensor_msgs/PointCloud2`` in the sensor's own frame.

    Any layout, padding, datatype and byte order is read; rows whose x, y or z is not finite are dropped. Where
    ``row_step`` does not fit, as drivers of organised clouds leave it, but the data is as long as rows without padding
    are, these are read; fields other than x, y and z that cannot be read are left out.

    Args:
        message: the message.
        note: gets what was put right: ``row_step``, ``cloud_fields``.

    Returns:
        xyz in metres.
        Intensity in [0, 1] from ``intensity``, ``i`` or ``reflectivity``: integers by their range (16-bit values that
        never leave 0..255 count as 8-bit), floats as they are unless one exceeds 1, then as 0..255.
        Time in seconds relative to the header's stamp from ``t``, ``time``, ``timestamp``, ``time_offset`` or
        ``offset_time``: integers are nanoseconds, floats seconds (or nanoseconds where seconds make no sense), relative
        or absolute. None where there is no such field, or no reading of it makes a sweep of at most one second.
        Classes from integers in ``point_class``: indices into ``point_class_names`` of the class list of the ground
        truth beside it.

    Raises:
        InputRejected: ``cloud_fields``: x, y or z is missing, does not fit or overlaps another; ``cloud_size``: the
            sizes do not fit the data.
    """
    records = _records(message, note)
    xyz = np.empty((records.size, 3), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for axis, name in enumerate("xyz"):
            xyz[:, axis] = records[name].reshape(-1)
    finite = np.isfinite(xyz).all(axis=1)
    keep: Any = slice(None) if finite.all() else finite
    columns = records.dtype.names or ()
    intensity = next(
        (_unit_intensity(records[name].reshape(-1)[keep]) for name in _INTENSITY_NAMES if name in columns), None
    )
    time = next(
        (_relative_time(records[name].reshape(-1)[keep], stamp_of(message)) for name in _TIME_NAMES if name in columns),
        None,
    )
    classes = records[POINT_CLASS_FIELD].reshape(-1)[keep] if POINT_CLASS_FIELD in columns else None
    if classes is not None and classes.dtype.kind not in "iu":
        classes = None
    return PointCloud(xyz[keep], intensity, time, None if classes is None else _small(classes))


def _records(message: Any, note: Note) -> NDArray[np.void]:
    """The cloud as a structured array (height, width) of the fields used here, a view into the message's data."""
    data = byte_buffer(message.data)
    layout = _layout(message, note)
    height, width = int(message.height), int(message.width)
    point_step, row_step = int(message.point_step), int(message.row_step)
    if height * width == 0:
        return np.zeros((0, 0), layout)
    if height == 1:
        row_step = width * point_step
    elif row_step != width * point_step and min(height, width) > 0 and len(data) == height * width * point_step:
        row_step = width * point_step
        note(
            "row_step",
            f"{_place(message)}: row_step is {message.row_step}; {height} rows of {width} points of {point_step} bytes "
            f"fill its {len(data)} bytes without padding, and were read so",
        )
    needed = (height - 1) * row_step + width * point_step
    if min(height, width) < 0 or row_step < width * point_step or needed > len(data):
        raise InputRejected(
            "cloud_size",
            f"{_place(message)}: {height} rows of {width} points, row_step {message.row_step} and point_step "
            f"{point_step} do not fit {len(data)} bytes of data; the driver must fill them as they are",
        )
    return np.ndarray((height, width), layout, data, strides=(row_step, point_step))


def _layout(message: Any, note: Note) -> np.dtype:
    order = ">" if message.is_bigendian else "<"
    wanted = {"x", "y", "z", *_INTENSITY_NAMES, *_TIME_NAMES, POINT_CLASS_FIELD}
    found: dict[str, tuple[str, int]] = {}
    faults: dict[str, str] = {}
    for field in message.fields:
        if field.name not in wanted or field.name in found:
            continue
        code = _DATATYPES.get(field.datatype)
        if code is None:
            faults[field.name] = f"field '{field.name}' has the unknown datatype {field.datatype}"
        elif field.offset + int(code[1]) > message.point_step:
            faults[field.name] = (
                f"field '{field.name}' at offset {field.offset} reaches beyond point_step {message.point_step}"
            )
        else:
            found[field.name] = (order + code, int(field.offset))
    faults = {name: fault for name, fault in faults.items() if name not in found}
    if needed := [fault for name, fault in faults.items() if name in "xyz"]:
        raise InputRejected("cloud_fields", f"{_place(message)}: {'; '.join(needed)}")
    if faults:
        note("cloud_fields", f"{_place(message)}: {'; '.join(faults.values())}; left out")
    if not {"x", "y", "z"} <= found.keys():
        names = ", ".join(field.name for field in message.fields) or "none"
        raise InputRejected(
            "cloud_fields", f"{_place(message)}: x, y and z are needed, its fields are: {names}; publish them"
        )
    places = {name: range(found[name][1], found[name][1] + int(found[name][0][-1])) for name in "xyz"}
    if len({place for used in places.values() for place in used}) < sum(map(len, places.values())):
        offsets = ", ".join(f"{name} at {used.start} ({len(used)} bytes)" for name, used in places.items())
        raise InputRejected("cloud_fields", f"{_place(message)}: its fields overlap: {offsets}; correct their offsets")
    return np.dtype(
        {
            "names": list(found),
            "formats": [code for code, _ in found.values()],
            "offsets": [offset for _, offset in found.values()],
            "itemsize": int(message.point_step),
        }
    )


def _unit_intensity(values: NDArray) -> NDArray[np.float32]:
    result = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
    top = float(result.max(initial=0.0))
    if values.dtype.kind in "iu":
        scale = 255.0 if top <= 255.0 else float(np.iinfo(values.dtype).max)
    else:
        scale = 255.0 if top > 1.0 else 1.0
    return np.clip(result / np.float32(scale), 0.0, 1.0)


def _small(classes: NDArray) -> NDArray[np.int16]:
    limits = np.iinfo(np.int16)
    return np.where((classes >= 0) & (classes <= limits.max), classes, UNKNOWN).astype(np.int16)


def _relative_time(values: NDArray, stamp: int) -> NDArray[np.float32] | None:
    if values.dtype.kind in "iu":
        readings = [values.astype(np.float64) * 1e-9]
    else:
        given = values.astype(np.float64)
        readings = [given, given - stamp * 1e-9, given * 1e-9, (given - stamp) * 1e-9]
    for seconds in readings:
        if np.isfinite(seconds).all() and np.abs(seconds).max(initial=0.0) <= _LONGEST_SWEEP_S:
            return seconds.astype(np.float32)
    return None


def _place(message: Any) -> str:
    return f"point cloud of frame '{message.header.frame_id}'"
