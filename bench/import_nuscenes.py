"""Memory and time of importing from nuScenes tables of ``trainval``'s size: ``python -m bench.import_nuscenes``.

Writes the tables of made-up drives in nuScenes' layout (once; 3 GB), with the files of the first scene at their real
sizes, then reads them in a process of its own: all scenes with every image and sweep, all scenes with key frames alone,
the ground truth for an evaluation, and the bag of one scene after that.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg

from bench.nuscenes_layout import Drive

SIZE = (1600, 900)
SAMPLES, OBJECTS, POINTS = 40, 41, 34_700
"""In a scene, and in a sample: 34 thousand samples and 1.2 million boxes in 850 scenes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=850)
    parser.add_argument("--folder", type=Path, default=Path("build/bench_nuscenes"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    root = options.folder / f"{options.scenes}_scenes"
    if not (root / "done.json").is_file():
        write(root, options.scenes)
    results = {
        "rows": json.loads((root / "done.json").read_text()),
        "megabytes_of_tables": round(sum(path.stat().st_size for path in (root / "v1.0-trainval").iterdir()) / 1e6),
        "every file": measured(read, root, False),
        "key frames": measured(read, root, True),
        "one bag": measured(one_bag, root),
    }
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{options.scenes} scenes, {results['megabytes_of_tables']} MB of tables; rows: {results['rows']}")
    for name in ("every file", "key frames", "one bag"):
        figures = ", ".join(f"{key} {value}" for key, value in results[name].items())
        print(f"{name}: {figures}")


def write(root: Path, scenes: int) -> None:
    """Write the tables, and the files of the first scene."""
    shutil.rmtree(root, ignore_errors=True)
    noise = np.random.default_rng(0).integers(0, 256, (23, 40, 3), np.uint8)
    picture = bytes(simplejpeg.encode_jpeg(cv2.resize(noise, SIZE, interpolation=cv2.INTER_CUBIC), 85))
    drive = Drive(
        scenes=scenes,
        samples=SAMPLES,
        objects=OBJECTS,
        files=1,
        size=SIZE,
        image=lambda channel, place: picture,
        points=POINTS - OBJECTS,
        version="v1.0-trainval",
    )
    rows = drive.write(root)
    (root / "done.json").write_text(json.dumps(rows))


def measured(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What a piece of work answers, in a process of its own, with its time and its peak of memory."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return dict(pool.apply(_timed, (work, arguments)))


def _timed(work: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> dict[str, Any]:
    began = time.perf_counter()
    answer = work(*arguments)
    answer["seconds"] = round(time.perf_counter() - began, 1)
    answer["cpu_seconds"] = round(time.process_time(), 1)
    answer["peak_megabytes"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return answer


def read(root: Path, key_frames: bool) -> dict[str, Any]:
    """Read the tables for all scenes."""
    from semlt3d_ros.datasets.nuscenes import open_nuscenes
    from semlt3d_ros.datasets.nuscenes_folder import open_folder

    folder = open_folder(root)
    return {"scenes": len(open_nuscenes(folder, list(folder.scenes), key_frames=key_frames))}


def one_bag(root: Path) -> dict[str, Any]:
    """Read the tables for all scenes, and write the bag of the first."""
    from semlt3d_ros.datasets.importing import import_scenes
    from semlt3d_ros.datasets.nuscenes import open_nuscenes
    from semlt3d_ros.datasets.nuscenes_folder import open_folder

    folder = open_folder(root)
    opened = open_nuscenes(folder, list(folder.scenes))
    first = next(iter(opened))
    began = time.perf_counter()
    (bag,) = import_scenes({first: opened[first]}, root / "bag.mcap", overwrite=True).bags
    return {
        "images": bag["images"],
        "sweeps": bag["sweeps"],
        "bag_seconds": round(time.perf_counter() - began, 1),
        "bag_megabytes": round((root / "bag.mcap").stat().st_size / 1e6),
    }


if __name__ == "__main__":
    main()
