"""Recipes of any kind of network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from semlt3d_ros.core.yaml_file import read_yaml
from semlt3d_ros.training.given import Given
from semlt3d_ros.training.recipe import Recipe, parse_recipe
from semlt3d_ros.training.teacher_recipe import TeacherRecipe, parse_teacher_recipe


def load_any_recipe(path: Path, given: Given | None = None) -> Recipe | TeacherRecipe:
    """Read a recipe from YAML: a teacher's where it has an entry ``teacher``, a student's otherwise.

    Args:
        path: the file.
        given: in place of some of its entries.

    Raises:
        ConfigurationError: the file is absent or no YAML, or entries are unknown, missing or do not fit; all are named.
    """
    place = f"recipe '{path}'"
    values = read_yaml(path, "recipe")
    return parse_any_recipe(values if given is None else given.applied(values, place), place)


def parse_any_recipe(values: Any, place: str) -> Recipe | TeacherRecipe:
    """A recipe from the entries of a YAML file; raises ``ConfigurationError`` with everything that does not fit."""
    if isinstance(values, Mapping) and "teacher" in values:
        return parse_teacher_recipe(values, place)
    return parse_recipe(values, place)
