"""``semlt3d simulate``: a drive through the simulated world, with ground truth, as a bag."""

from __future__ import annotations

import argparse

from semlt3d_ros.commands.output import for_people, print_json
from semlt3d_ros.commands.places import bag_to_write
from semlt3d_ros.core.errors import ConfigurationError

HELP = "simulate a drive with ground truth into a bag"
EXAMPLE = "semlt3d simulate build/drive.mcap --seed 7 --frames 60"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("out", type=bag_to_write, metavar="OUT", help="bag to write (.mcap file)")
    parser.add_argument("--seed", type=int, default=0, help="decides everything that is left to chance (default: 0)")
    parser.add_argument("--frames", type=int, default=40, metavar="N", help="number of camera sets (default: 40)")
    parser.add_argument("--interval", type=float, default=0.1, metavar="S", help="seconds between sets (default: 0.1)")
    parser.add_argument("--size", default="448x256", metavar="WxH", help="image size in pixels (default: 448x256)")
    parser.add_argument(
        "--lidar",
        choices=("nominal", "varied"),
        default="nominal",
        help="varied: another LiDAR for every seed, over uneven and cluttered streets (default: nominal)",
    )
    parser.add_argument(
        "--city", choices=("home", "winter"), default="home", help="winter: snow, dusk and mist (default: home)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing bag")
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")


def run(options: argparse.Namespace) -> int:
    """Simulate, and say what was written."""
    from semlt3d_ros.simulation.drive import DriveConfig
    from semlt3d_ros.simulation.lidar_models import lidar_of
    from semlt3d_ros.simulation.simulate import simulate

    config = DriveConfig(
        seed=options.seed,
        frames=options.frames,
        interval_s=options.interval,
        image_size=parse_size(options.size),
        lidar=lidar_of(options.lidar, options.seed),
        rough=options.lidar == "varied",
        city=options.city,
    )
    frames = simulate(options.out, config, progress=for_people(options), overwrite=options.overwrite)
    if options.json:
        print_json({"bag": options.out, "frames": frames, "seed": options.seed})
    else:
        print(f"{frames} frames in {options.out}")
    return 0


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of ``WxH``.

    Raises:
        ConfigurationError: not two whole numbers with an x between.
    """
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ConfigurationError(f"--size {text}: expected WxH with whole numbers, for example 448x256")
    return int(width), int(height)
