"""Routing in a real language space: CLIP's text embeddings of object names, whose cosines all crowd together."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.decoder import LanguageProjection
from semlt3d_ros.student.experts import Experts, make_block
from semlt3d_ros.student.student import Student

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "clip_text"
DIMENSION = 512

FILES = {
    "lvis": ("lvis_names.json", "lvis_v1_clip_a+cname.npy"),
    "oid": ("oid_names.json", "oid_clip_a+cname.npy"),
    "o365": ("o365_names.json", "o365_clip_a+cnamefix.npy"),
}
NEAREST = {
    "car": ("oid", "Car"), "truck": ("oid", "Truck"), "trailer": ("lvis", "trailer_truck"), "bus": ("oid", "Bus"),
    "construction_vehicle": ("o365", "Machinery Vehicle"), "bicycle": ("oid", "Bicycle"),
    "motorcycle": ("oid", "Motorcycle"), "emergency_vehicle": ("oid", "Ambulance"), "adult": ("oid", "Person"),
    "child": ("oid", "Boy"), "police_officer": ("lvis", "police_cruiser"), "construction_worker": ("oid", "Helmet"),
    "stroller": ("o365", "Stroller"), "personal_mobility": ("o365", "Scooter"),
    "pushable_pullable": ("lvis", "handcart"),
    "debris": ("lvis", "garbage"), "traffic_cone": ("o365", "Traffic cone"), "barrier": ("oid", "Barrel"),
}  # fmt: skip
"""The vocabulary and name nearest to each class."""


@pytest.fixture(scope="module")
def anchors() -> torch.Tensor:
    """(18, 512) unit text embeddings."""
    if not DATA.is_dir():
        pytest.skip("needs ../shared/data/clip_text")
    names = {key: json.loads((DATA / file).read_text()) for key, (file, _) in FILES.items()}
    rows = {key: np.load(DATA / file).astype(np.float32) for key, (_, file) in FILES.items()}
    assert tuple(NEAREST) == CLASS_NAMES
    chosen = np.stack([rows[key][names[key].index(name)] for key, name in NEAREST.values()])
    return F.normalize(torch.from_numpy(chosen), dim=-1)


CONFIG = StudentConfig(
    width=DIMENSION, heads=4, block="language_experts", language_width=DIMENSION, expert_width=8, shared_width=8
)


def routed(anchors: torch.Tensor, queries: torch.Tensor, experts: Experts) -> torch.Tensor:
    """(Q, M) probabilities for queries (Q, 512) that are already in the language space."""
    projection = LanguageProjection(CONFIG)
    with torch.no_grad():
        projection.project.weight.copy_(torch.eye(DIMENSION))
        projection.project.bias.zero_()
    _, _, similarity = projection(queries[None], anchors)
    return experts(queries[None], similarity)[1].probabilities[0]


def around(anchors: torch.Tensor, count: int, spread: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries near anchors: (18 * count, 512), and the number of each one's anchor."""
    owner = torch.arange(len(anchors)).repeat(count)
    noise = torch.randn(len(owner), DIMENSION) * spread / DIMENSION**0.5
    return 6.0 * (anchors[owner] + noise), owner


def test_the_names_crowd_together(anchors) -> None:
    cosines = anchors @ anchors.T
    apart = cosines[~torch.eye(18, dtype=torch.bool)]
    assert apart.min() > 0.4 and apart.max() < 0.99 and apart.std() < 0.1


@torch.no_grad()
def test_a_random_router_spreads_the_classes_over_the_experts(anchors) -> None:
    """Before any training, in most random starts no expert takes all classes."""
    queries, _ = around(anchors, 4, 0.5)
    used = []
    for seed in range(10):
        torch.manual_seed(seed)
        best = routed(anchors, queries, make_block(CONFIG)).argmax(-1)
        used.append(int((torch.bincount(best, minlength=4) > 0.05 * len(best)).sum()))
    assert min(used) >= 2 and sum(used) / len(used) >= 2.5


@torch.no_grad()
def test_nearby_names_route_apart_because_the_router_normalises(anchors) -> None:
    """Two classes' queries differ far more in their routing than they would without the normalisation."""
    torch.manual_seed(0)
    experts = make_block(CONFIG)
    assert isinstance(experts, Experts)
    probability = routed(anchors, anchors * 6.0, experts)
    linear = experts.router[-1]
    raw = linear(anchors @ anchors.T).softmax(-1)
    spread = (probability[:, None] - probability[None]).abs().sum(-1).mean()
    raw_spread = (raw[:, None] - raw[None]).abs().sum(-1).mean()
    assert spread > 0.2 and spread > 5 * raw_spread


def test_the_router_learns_which_class_belongs_to_which_expert(anchors) -> None:
    torch.manual_seed(0)
    experts = make_block(CONFIG)
    optimizer = torch.optim.Adam(experts.router.parameters(), lr=0.02)
    for _ in range(60):
        queries, owner = around(anchors, 4, 0.6)
        loss = F.nll_loss(routed(anchors, queries, experts).log(), owner % 4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    queries, owner = around(anchors, 10, 0.6)
    assert (routed(anchors, queries, experts).argmax(-1) == owner % 4).float().mean() > 0.95


@torch.no_grad()
def test_aligned_logits_name_the_nearest_anchor(anchors) -> None:
    projection = LanguageProjection(CONFIG)
    projection.project.weight.copy_(torch.eye(DIMENSION))
    projection.project.bias.zero_()
    queries, owner = around(anchors, 5, 0.3)
    assert (projection(queries[None], anchors)[1][0].argmax(-1) == owner).all()


def test_anchors_of_another_dimension_or_number_are_refused(anchors, config) -> None:
    language = {**config.to_dict(), "block": "language_experts", "language_width": DIMENSION}
    student = Student(StudentConfig.from_dict(language))
    student.set_anchors(anchors)
    assert torch.equal(student.decoder.language_anchors, anchors)
    assert "decoder.language_anchors" in student.state_dict()
    for wrong in (anchors[:, :256], anchors[:17], anchors[0]):
        with pytest.raises(ConfigurationError, match=r"do not fit this student, which takes \(18, 512\); make them"):
            student.set_anchors(wrong)
    assert torch.equal(student.decoder.language_anchors, anchors)
    with pytest.raises(ConfigurationError, match="do not fit this student"):
        Student(config).set_anchors(anchors)


@pytest.mark.parametrize("training", [True, False])
def test_a_student_with_language_says_nothing_before_it_has_anchors(config, frames, training) -> None:
    student = Student(replace(config, language_width=8)).train(training)
    batch = collate(frames, config.image_width, config.image_height)
    with pytest.raises(ConfigurationError, match="no language anchors: give it some with set_anchors"):
        student(batch)
    student.set_anchors(F.normalize(torch.randn(18, 8), dim=-1))
    assert student(batch).layers[-1].aligned is not None
