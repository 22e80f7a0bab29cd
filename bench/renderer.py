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
        build, frame, busy = [], [], []
        Drive(DriveConfig(0, frames=1, image_size=size, top_crop=crop)).frame(0)  # fills the caches
        for seed in range(given.drives):
            began = time.perf_counter()
            drive = Drive(DriveConfig(seed, frames=3, image_size=size, top_crop=crop))
            build.append(time.perf_counter() - began)
            for index in range(len(drive)):
                began, worked = time.perf_counter(), time.process_time()
                drive.frame(index)
                frame.append(time.perf_counter() - began)
                busy.append(time.process_time() - worked)
        rows.append(
            {
                "width": size[0],
                "height": size[1],
                "top_crop": crop,
                "frames": len(frame),
                "frame_s_median": statistics.median(frame),
                "frame_s_max": max(frame),
                "frame_cpu_s_median": statistics.median(busy),
                "drive_setup_s_median": statistics.median(build),
            }
        )
    if given.json:
        print(json.dumps({"limit_s": _LIMIT_S, "rows": rows}, indent=1))
        return
    columns = ("frames", "frame_s_median", "frame_s_max", "frame_cpu_s_median", "drive_setup_s_median")
    print(f"{'six images of':>14} " + " ".join(f"{column:>20}" for column in columns))
    for row in rows:
        size = f"{row['width']}x{row['height']} -{row['top_crop']:.0%}"
        print(f"{size:>14} " + " ".join(f"{row[column]:20.3f}" for column in columns))


if __name__ == "__main__":
    main()
