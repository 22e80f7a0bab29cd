"""An experiment on teachers: trained, judged by mIoU, reported."""

import textwrap

from semlt3d_ros.cli import main

EXPERIMENT = """
name: teachers
seeds: [0]
columns: [mIoU, mAP]
test: &drives
  {{first_seed: 870, drives: 1, frames: 1, lidar: varied, cameras: false, point_limit: 4000}}
recipe:
  data_folder: {data}
  train: {{<<: *drives, first_seed: 880, drives: 2}}
  validation: {{<<: *drives, first_seed: 890}}
  teacher:
    point_range: [-25.6, -25.6, -3.0, 25.6, 25.6, 5.0]
    pillar_m: 0.64
    pillar_layers: [8]
    block_layers: [1, 1, 1]
    block_widths: [8, 8, 8]
    up_widths: [4, 4, 4]
  schedule: {{frames: 2, batch: 1, evaluate_every: 0}}
bases: [{{name: small}}]
rows: [{{name: all labels}}, {{name: half the labels, change: {{labels: 0.5}}}}]
"""


def test_teachers_are_compared_by_what_they_say_of_points(tmp_path, data_folder) -> None:
    path = tmp_path / "teachers.yaml"
    path.write_text(textwrap.dedent(EXPERIMENT.format(data=data_folder)))
    out = tmp_path / "teachers.md"
    assert main(["experiment", str(path), "-o", str(out), "--folder", str(tmp_path / "runs"), "--json"]) == 0
    text = out.read_text()
    assert "| detector | row | seeds | mIoU | mAP |\n" in text and "| small | half the labels | 1 | " in text
    [row] = [line for line in text.splitlines() if "| all labels |" in line]
    assert 0 <= float(row.split("|")[4]) <= 100
