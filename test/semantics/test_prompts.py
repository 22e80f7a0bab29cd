import pytest

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.semantics.prompts import DEFAULT_TEMPLATES, load_templates, prompts_for, words_of


def test_class_names_become_words():
    assert words_of("construction_vehicle") == "construction vehicle"
    assert words_of("fallen tree") == "fallen tree"
    assert all("_" not in words_of(name) for name in CLASS_NAMES)


def test_every_name_goes_into_every_template():
    prompts = prompts_for(["traffic_cone", "bus"], ["a {}.", "{} ahead"])
    assert prompts == (("a traffic cone.", "traffic cone ahead"), ("a bus.", "bus ahead"))
    assert all(len(group) == len(DEFAULT_TEMPLATES) for group in prompts_for(CLASS_NAMES))


@pytest.mark.parametrize(
    ("names", "templates", "says"),
    [
        ([], ["{}"], "no class names"),
        (["car", "car"], ["{}"], "more than once"),
        (["car", ""], ["{}"], "class name is empty"),
        (["car"], [], "no prompt template"),
        (["car"], ["a photo"], "exactly one {}"),
        (["car"], ["a {} and a {}"], "exactly one {}"),
    ],
)
def test_what_cannot_be_asked_is_refused(names, templates, says):
    with pytest.raises(ConfigurationError, match=says):
        prompts_for(names, templates)


def test_templates_come_from_a_file(tmp_path):
    path = tmp_path / "templates.txt"
    path.write_text("# as on a motorway\n\na {} at night\n  the {}  \n")
    assert load_templates(path) == ("a {} at night", "the {}")
    path.write_text("a {} at night\nnothing to fill\n")
    with pytest.raises(ConfigurationError, match=r"templates\.txt.*'nothing to fill' needs exactly one {}"):
        load_templates(path)
    path.write_text("\n# only a remark\n")
    with pytest.raises(ConfigurationError, match="no prompt template"):
        load_templates(path)
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_templates(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_templates(tmp_path / "none.txt")
