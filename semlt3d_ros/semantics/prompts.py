"""What a vision-language model is asked: templates, and class names in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.language import check_names
from semlt3d_ros.core.taxonomy import LT3D

DEFAULT_TEMPLATES: tuple[str, ...] = (
    "a photo of a {}.",
    "a {} on the road.",
    "a {} seen from a car.",
    "a small photo of a {}.",
    "{}",
)
"""One name in several sentences; the mean of their embeddings says more than any single one (Radford et al., 2021)."""


def words_of(name: str, words: Mapping[str, str] | None = None) -> str:
    """A class name as people write it: ``construction_vehicle`` is "construction vehicle".

    Args:
        name: of the class.
        words: what to call classes that are called otherwise; as LT3D's list has it unless given.
    """
    known = LT3D.words() if words is None else words
    return known.get(name) or " ".join(name.replace("_", " ").split())


def prompts_for(
    names: Sequence[str], templates: Sequence[str] = DEFAULT_TEMPLATES, words: Mapping[str, str] | None = None
) -> tuple[tuple[str, ...], ...]:
    """The texts to embed for each name, one for each template; ``words`` says what to call some of the names.

    Raises:
        ConfigurationError: a name, or what to call it, is empty, a name is given twice, there is no template, or one
            has not exactly one ``{}``.
    """
    check_names(names)
    check_templates(templates)
    called = {name: words[name] if words and name in words else words_of(name) for name in names}
    for name, text in called.items():
        if not text.strip():
            raise ConfigurationError(f"class '{name}' has an empty prompt; say what to call it, or leave the '=' out")
    return tuple(tuple(template.replace("{}", called[name]) for template in templates) for name in names)


def check_templates(templates: Sequence[str]) -> None:
    """Refuse templates a name cannot be put into.

    Raises:
        ConfigurationError: there is none, or one has not exactly one ``{}``.
    """
    if not templates:
        raise ConfigurationError("no prompt template given; use at least one, such as 'a photo of a {}.'")
    for template in templates:
        if template.count("{}") != 1:
            raise ConfigurationError(
                f"prompt template '{template}' needs exactly one {{}} where the class name goes, as in "
                "'a photo of a {}.'"
            )


def load_templates(path: Path) -> tuple[str, ...]:
    """Templates from a text file, one a line; empty lines and those that begin with ``#`` are left out.

    Raises:
        ConfigurationError: the file cannot be read, holds no template, or one has not exactly one ``{}``.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"templates '{path}' cannot be read ({error}); give a text file") from error
    templates = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    try:
        check_templates(templates)
    except ConfigurationError as error:
        raise ConfigurationError(f"templates '{path}': {error}") from error
    return templates
