"""Learning on from a checkpoint of other classes: heads go by name, new classes begin as what is like them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.checkpoints.adoption import adopt, class_axes
from semlt3d_ros.checkpoints.checkpoint import save_checkpoint
from semlt3d_ros.core.classes import ClassInfo, ClassList
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.core.taxonomy import CLASS_NAMES, LT3D
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.image_head import PRIOR_LOGIT
from semlt3d_ros.student.student import Student

SMALL = StudentConfig(
    backbone_args={"channels": [8, 16, 24, 32], "stem_width": 8},
    width=32,
    feed_forward=48,
    anchors=16,
    proposals=8,
    depth_bins=8,
    expert_width=8,
    shared_width=16,
)
LANGUAGE = replace(SMALL, block="language_experts", language_width=24)
HEADS = ("image_head.heat.bias", "decoder.layers.0.classify.3.bias", "decoder.layers.1.classify.3.weight")


def anchors(names: tuple[str, ...], source: str = "clip") -> LanguageAnchors:
    """Random unit vectors that depend on the name alone."""
    rows = [np.random.default_rng(list(name.encode())).normal(size=24).astype(np.float32) for name in names]
    return LanguageAnchors(names, np.stack(rows), names, source)


def random_student(config: StudentConfig, seed: int) -> Student:
    torch.manual_seed(seed)
    student = Student(config)
    with torch.no_grad():
        for key, value in student.state_dict().items():
            if key in class_axes(student):
                value.normal_()
    if config.language_width:
        student.set_anchors(torch.from_numpy(anchors(config.class_names).embeddings))
    return student


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    path = tmp_path_factory.mktemp("start") / "plain.safetensors"
    student = random_student(SMALL, 1)
    save_checkpoint(path, student, "plain", {})
    return path, student.state_dict()


@pytest.fixture(scope="module")
def worded(tmp_path_factory):
    path = tmp_path_factory.mktemp("start") / "worded.safetensors"
    student = random_student(LANGUAGE, 2)
    save_checkpoint(path, student, "worded", {}, {"source": "clip", "prompts": []})
    return path, student.state_dict()


def test_all_that_depends_on_the_number_of_classes_is_known() -> None:
    for config in (SMALL, LANGUAGE):
        many, few = Student(config), Student(replace(config, class_names=("car", "adult")))
        shapes = {key: value.shape for key, value in few.state_dict().items()}
        differing = {key for key, value in many.state_dict().items() if value.shape != shapes[key]}
        assert differing - {"decoder.language_anchors"} == set(class_axes(many))
        for key, axis in class_axes(many).items():
            pairs = zip(many.state_dict()[key].shape, shapes[key], strict=True)
            assert [number for number, (a, b) in enumerate(pairs) if a != b] == [axis]


@settings(max_examples=15, deadline=None)
@given(names=st.lists(st.sampled_from(CLASS_NAMES), min_size=1, max_size=18, unique=True))
def test_classes_are_taken_over_wherever_they_stand(plain, names) -> None:
    path, tensors = plain
    student = Student(replace(SMALL, class_names=tuple(names)))
    came = adopt(student, path)
    rows = [CLASS_NAMES.index(name) for name in names]
    own = student.state_dict()
    for key, axis in class_axes(student).items():
        assert torch.equal(own[key].movedim(axis, 0), tensors[key].movedim(axis, 0)[rows])
    rest = set(own) - set(class_axes(student))
    assert all(torch.equal(own[key], tensors[key]) for key in rest)
    assert came.fresh == () and came.known == tuple(names) and came.begun == {}
    assert set(came.dropped) == set(CLASS_NAMES) - set(names)


def test_the_same_classes_are_taken_over_as_they_are(worded) -> None:
    path, tensors = worded
    student = Student(LANGUAGE)
    came = adopt(student, path)
    assert came.fresh == () and came.dropped == ()
    assert all(torch.equal(value, tensors[key]) for key, value in student.state_dict().items())


def test_without_language_a_new_class_begins_as_its_superclass_or_as_background(plain) -> None:
    path, tensors = plain
    names = ("dog", "tram", "car", "pedestrian")
    student = Student(replace(SMALL, class_names=names))
    infos = ClassInfo("dog"), ClassInfo("tram", "vehicle"), ClassInfo("car", "vehicle"), ClassInfo("pedestrian")
    came = adopt(student, path, classes=ClassList("own", infos))
    vehicles, people = (
        [info.name for info in LT3D.classes if info.superclass == each] for each in ("vehicle", "pedestrian")
    )
    own = student.state_dict()
    for key in HEADS:
        row = {name: tensors[key][CLASS_NAMES.index(name)] for name in CLASS_NAMES}
        assert torch.allclose(own[key][1], sum(row[name] for name in vehicles) / len(vehicles), atol=1e-6)
        assert torch.allclose(own[key][3], sum(row[name] for name in people) / len(people), atol=1e-6)
        assert torch.equal(own[key][2], row["car"])
    assert own["image_head.heat.bias"][0] == PRIOR_LOGIT and own["decoder.layers.0.classify.3.bias"][0] == PRIOR_LOGIT
    assert came.begun["dog"] == "background" and "'vehicle': car, truck" in came.begun["tram"]
    assert came.known == ("car",)


def test_with_language_a_new_class_begins_as_what_its_anchor_is_like(worded) -> None:
    path, tensors = worded
    names = ("lorry", "car")
    near = anchors(CLASS_NAMES).embeddings[CLASS_NAMES.index("truck")] + 0.02
    given = LanguageAnchors(names, np.stack([near, anchors(("car",)).embeddings[0]]), names, "clip")
    student = Student(replace(LANGUAGE, class_names=names))
    came = adopt(student, path, anchors=given)
    own = student.state_dict()
    for key in HEADS:
        assert torch.allclose(own[key][0], tensors[key][CLASS_NAMES.index("truck")], atol=0.02)
        assert torch.equal(own[key][1], tensors[key][0])
    router = "decoder.layers.0.feed_forward.router.1.weight"
    assert torch.allclose(own[router][:, 0], tensors[router][:, CLASS_NAMES.index("truck")], atol=0.02)
    assert came.begun["lorry"].startswith("what language finds it like: truck")
    # Anchors are made for the names, not learnt: whoever trains sets them.
    assert came.fresh == ("decoder.language_anchors",) and not own["decoder.language_anchors"].any()


def test_another_clip_says_nothing_about_the_classes_of_a_checkpoint(worded) -> None:
    path, _ = worded
    names = ("lorry", "van")
    own_list = ClassList("own", (ClassInfo("lorry"), ClassInfo("van", "vehicle")))
    student = Student(replace(LANGUAGE, class_names=names))
    came = adopt(student, path, anchors=anchors(names, "another"), classes=own_list)
    assert came.begun["lorry"] == "background"
    assert came.begun["van"].startswith("the mean of its super-class 'vehicle': car, truck, trailer")


def test_parts_are_taken_over_alone_and_nothing_is_an_error(plain) -> None:
    path, tensors = plain
    student = Student(replace(SMALL, class_names=("car",)))
    before = {key: value.clone() for key, value in student.state_dict().items()}
    came = adopt(student, path, ("features.",))
    own = student.state_dict()
    taken = {key for key in own if key.startswith("features.")}
    assert set(came.fresh) == set(own) - taken
    assert all(torch.equal(own[key], (tensors if key in taken else before)[key]) for key in own)
    with pytest.raises(ConfigurationError, match="none of its tensors fits"):
        adopt(student, path, ("teacher.",))
