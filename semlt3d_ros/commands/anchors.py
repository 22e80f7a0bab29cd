"""``semlt3d anchors``: turn class names into directions of a language space."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from semlt3d_ros.commands.output import print_json, print_table
from semlt3d_ros.commands.places import file_to_write, name_or_file, to_read

HELP = "make language anchors of class names, for a detector that is to know other classes"
EXAMPLE = 'semlt3d anchors "wheelchair" "fallen tree" child="kid" -o build/anchors.safetensors'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="class names; NAME=WORDS to call it otherwise in prompts"
    )
    parser.add_argument(
        "--classes",
        type=name_or_file,
        metavar="FILE",
        help="all classes of a list, with its words: a file, or the name of one that comes with the package",
    )
    parser.add_argument(
        "--model", default="tiny", help="open_clip model name; or the one of this package (default: tiny)"
    )
    parser.add_argument("--pretrained", type=name_or_file, metavar="P", help="open_clip tag, or a path to weights")
    parser.add_argument(
        "--templates", type=to_read, metavar="FILE", help="prompt templates, one a line, each with {} for the name"
    )
    parser.add_argument(
        "-o",
        "--out",
        type=file_to_write,
        default=Path("anchors.safetensors"),
        help="file to write (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(options: argparse.Namespace) -> int:
    """Make the anchors, write them, and show how far apart they are."""
    from semlt3d_ros.core.classes import load_class_list
    from semlt3d_ros.semantics.prompts import DEFAULT_TEMPLATES, load_templates, prompts_for, words_of

    templates = DEFAULT_TEMPLATES if options.templates is None else load_templates(options.templates)
    listed = load_class_list(options.classes) if options.classes is not None else None
    pairs = [given.partition("=") for given in options.names]
    names = [*(listed.names if listed else ()), *(name for name, _, _ in pairs)]
    words = {**(listed.words() if listed else {}), **{name: text for name, equals, text in pairs if equals}}
    prompts_for(names, templates, words)  # what is wrong with them shows before any model is loaded

    from rich.table import Table

    from semlt3d_ros.semantics.anchors import make_anchors, save_anchors
    from semlt3d_ros.semantics.clip import ClipEncoder

    encoder = ClipEncoder.load(options.model, options.pretrained)
    anchors = make_anchors(encoder, names, templates, words=words)
    save_anchors(options.out, anchors)
    nearest = anchors.nearest()
    warnings = [
        f"'{name}': this model never saw {', '.join(map(repr, unknown))}; its anchor says little or nothing"
        for name in anchors.names
        if (unknown := encoder.unknown_words(words.get(name, words_of(name))))
    ]
    warnings += [
        f"'{name}' and '{other}' are closer (cosine {cosine:.3f}) than this model can tell apart"
        for name, other, cosine in anchors.indistinct(encoder.logit_scale)
    ]
    for warning in warnings:
        print(f"semlt3d: warning: {warning}", file=sys.stderr)
    if options.json:
        near = [{"name": name, "nearest": other, "cosine": cosine} for name, other, cosine in nearest]
        print_json(
            {
                "anchors": str(options.out),
                "source": anchors.source,
                "dimension": anchors.dimension,
                "logit_scale": encoder.logit_scale,
                "nearest": near,
                "warnings": warnings,
            }
        )
        return 0
    table = Table("name", "nearest other", "cosine")
    for name, other, cosine in nearest:
        table.add_row(name, other, f"{cosine:.3f}")
    print_table(table)
    print(f"{options.out}: {len(anchors)} anchors of dimension {anchors.dimension} from {anchors.source}")
    return 0
