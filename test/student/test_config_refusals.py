"""Model configs that cannot be: every fault is listed at once, by name and with what to do."""

import pytest

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import Student


def refusal(**values) -> str:
    with pytest.raises(ConfigurationError) as caught:
        StudentConfig.from_dict(values)
    return str(caught.value)


def test_all_faults_are_listed_at_once() -> None:
    message = refusal(
        cross_attention="everywhere", block="language_experts", experts_used=5, memory_frames=-1, width=30, heads=4,
        range_m=0.0, language_share=0.5, anchors=0, proposals=0, top_crop=1.0, class_names=[],
    )  # fmt: skip
    for part in (
        "range_m must be positive, not 0.0",
        "cross_attention must be one of sampled, global, not 'everywhere'",
        "'language_experts' needs language_width, the dimension of the language anchors",
        "experts_used must lie in 1 to experts (4), not 5",
        "language_share must lie in [0, 1], and be 0 without language_width",
        "memory_frames must not be negative",
        "width 30 must be a multiple of heads 4",
        "anchors and proposals must not be negative, and must not both be 0",
        "top_crop must lie in [0, 1), not 1.0",
        "class_names must be unique and not empty",
    ):
        assert part in message


def test_global_attention_needs_its_stride() -> None:
    message = refusal(cross_attention="global", strides=[8, 32])
    assert "cross_attention 'global' needs stride 16 among strides [8, 32]" in message
    assert StudentConfig.from_dict({"cross_attention": "global", "strides": [8, 16]}).token_level == 1


@pytest.mark.parametrize("values", [{"memory_queries": 0}, {"memory_gap_s": 0.0}, {"memory_queries": -3}])
def test_a_memory_needs_queries_and_a_gap(values) -> None:
    assert "memory_queries and memory_gap_s must be positive" in refusal(memory_frames=2, **values)
    assert StudentConfig.from_dict(values).propagated == 0, "without a memory they do not matter"


def test_a_block_is_one_of_three() -> None:
    assert "block must be one of plain, feature_experts, language_experts, not 'moe'" in refusal(block="moe")
    assert "experts_used must lie in 1 to experts (4), not 0" in refusal(block="feature_experts", experts_used=0)


def test_values_of_another_kind_are_refused_together_with_unknown_names() -> None:
    message = refusal(width="96", strides=8, pretrained=1, widht=3, class_names=["car", 5], range_m=True)
    for part in (
        "width must be a whole number, not '96'",
        "strides must be a list of whole numbers, not 8",
        "pretrained must be true or false, not 1",
        "unknown entry 'widht'; did you mean 'width'?",
        "class_names[1] must be a text, not 5",
        "range_m must be a number, not True",
    ):
        assert part in message
    assert StudentConfig.from_dict({"range_m": 45}).range_m == 45


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"strides": []}, "strides must be given, finest first, not []"),
        ({"strides": [16, 8]}, "strides must be given, finest first, not [16, 8]"),
        ({"depth_points": 0}, "depth_points must be positive"),
        ({"depth_bins": 0}, "depth_bins must be positive"),
        ({"proposals": -1}, "must not be negative"),
        ({"block": "feature_experts", "expert_width": 0}, "expert_width must be positive"),
    ],
)
def test_sizes_of_nothing_are_refused(values, message) -> None:
    assert message in refusal(**values)


def test_a_student_without_memory_has_none(config) -> None:
    student = Student(config)
    assert student.alignment is None and not any("alignment" in name for name in student.state_dict())


def test_configs_travel_as_plain_values() -> None:
    config = StudentConfig(block="language_experts", language_width=12, memory_frames=2, strides=(8, 16))
    values = config.to_dict()
    assert StudentConfig.from_dict({**values, "strides": list(values["strides"])}) == config
