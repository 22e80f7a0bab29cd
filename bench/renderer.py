"""How long the simulator takes for one frame: ``python -m bench.renderer [--json]``."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time

_LIMIT_S = 1.5


def main() -> None:
    """Render drives and print seconds per frame of six images and a LiDAR sweep, on one core."""
    parser = argparse.ArgumentParser(prog="python -m bench.renderer", description=main.__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--drives", type=int, default=5)
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    from semlt3d_ros.simulation.drive import Drive, DriveConfig

    rows = []
    for size, crop in (((448, 256), 0.0), ((224, 128), 0.25)):
        build, frame = [], []
        Drive(DriveConfig(0, frames=1, image_size=size, top_crop=crop)).frame(0)  # fills the caches
        for seed in range(given.drives):
            began = time.perf_counter()
            drive = Drive(DriveConfig(seed, frames=3, image_size=size, top_crop=crop))
            build.append(time.perf_counter() - began)
            for index in range(len(drive)):
                began = time.perf_counter()
                drive.frame(index)
                frame.append(time.perf_counter() - began)
        rows.append(
            {
                "width": size[0],
                "height": size[1],
                "top_crop": crop,
                "frames": len(frame),
                "frame_s_median": statistics.median(frame),
                "frame_s_max": max(frame),
                "drive_setup_s_median": statistics.median(build),
            }
        )
    if given.json:
        print(json.dumps({"limit_s": _LIMIT_S, "rows": rows}, indent=1))
        return
    print(f"{'images':>12} {'crop':>5} {'frames':>6} {'median s':>9} {'worst s':>8} {'set-up s':>8}")
    for row in rows:
        print(
            f"{'6 x {width}x{height}'.format(**row):>12} {row['top_crop']:5.2f} {row['frames']:6d} "
            f"{row['frame_s_median']:9.3f} {row['frame_s_max']:8.3f} {row['drive_setup_s_median']:8.3f}"
        )


if __name__ == "__main__":
    main()
