"""StreamPETR's neck against ``student.published.cpfpn``."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bench.parity.fixtures import Comparison, Fixture, standard
from semlt3d_ros.student.published.cpfpn import CPFPN


@torch.inference_mode()
def compare(fixture: Fixture) -> Iterator[Comparison]:
    """Both levels of every case, and the finer one behind another fixture's backbone where that lies beside."""
    config, info = fixture.config, fixture.info
    neck = CPFPN(config["in_channels"], config["out_channels"]).eval()
    neck.load_state_dict(fixture.weights())
    cases = dict.fromkeys(name.split("/")[1] for name in info["inputs"])
    levels, tolerance = len(config["in_channels"]), info["tolerance"]["out0, out1"]
    for case in cases:
        names = [f"level{level}/{case}" for level in range(levels)]
        given = [standard(name, info["inputs"][name]["shape"]) for name in names]
        for level, output in enumerate(neck(given)):
            if f"{case}.out{level}" in fixture.arrays:
                stored = fixture.arrays[f"{case}.out{level}"]
                yield fixture.compare(f"{case}.out{level}", output[0], stored, tolerance)
    behind = Fixture(fixture.path.with_name("vovnet99.json"))
    output = "of_vovnet99_even.out0"
    if output in fixture.arrays and behind.path.is_file():
        given = [torch.from_numpy(behind.arrays[f"even.{stage}"])[None] for stage in ("stage4", "stage5")]
        yield fixture.compare(output, neck(given)[0][0], fixture.arrays[output], info["tolerance"][output])
