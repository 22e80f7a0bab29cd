"""What is read is never written over, by whatever name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.places import Input, Kind, Output, refuse_losses


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in a plain folder, a bag folder, and links to both; the current folder."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "bag").mkdir()
    (tmp_path / "plain" / "drive.mcap").write_text("drive")
    (tmp_path / "plain" / "drive.unfinished.mcap").write_text("what a killed recorder left")
    (tmp_path / "bag" / "bag_0.mcap").write_text("bag")
    (tmp_path / "bag" / "metadata.yaml").write_text("")
    (tmp_path / "link.mcap").symlink_to("plain/drive.mcap")
    (tmp_path / "far.mcap").symlink_to("link.mcap")
    (tmp_path / "same.mcap").hardlink_to(tmp_path / "plain" / "drive.mcap")
    (tmp_path / "part.mcap").hardlink_to(tmp_path / "bag" / "bag_0.mcap")
    (tmp_path / "linked").symlink_to("bag")
    (tmp_path / "of_links").mkdir()
    (tmp_path / "of_links" / "of_links_0.mcap").symlink_to(tmp_path / "plain" / "drive.mcap")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(source: str, out: str, kind: Kind = "bag") -> None:
    refuse_losses([Output("--out", Path(out), kind)], [Input("BAG", Path(source))])


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("plain/drive.mcap", "plain/drive.mcap"),
        ("plain/drive.mcap", "plain/../plain/./drive.mcap"),
        ("plain/drive.mcap", "new/../plain/drive.mcap"),
        ("plain/drive.mcap", "link.mcap"),
        ("link.mcap", "plain/drive.mcap"),
        ("link.mcap", "far.mcap"),
        ("plain/drive.mcap", "same.mcap"),
        ("link.mcap", "same.mcap"),
        ("plain/drive.mcap", "plain"),
        ("link.mcap", "plain"),
        ("plain/drive.mcap", "."),
        ("bag", "bag"),
        ("bag", "linked"),
        ("linked", "bag"),
        ("bag/bag_0.mcap", "bag"),
        ("bag/bag_0.mcap", "linked"),
        ("bag", "bag/bag_0.mcap"),
        ("bag", "bag/new.mcap"),
        ("bag", "bag/new"),
        ("bag", "linked/deep/new.mcap"),
        ("bag", "plain/../bag/new.mcap"),
        ("bag/bag_0.mcap", "bag/new.mcap"),
        ("bag", "part.mcap"),
        ("part.mcap", "bag/bag_0.mcap"),
        ("bag", "."),
        ("of_links", "plain/drive.mcap"),
        ("of_links", "same.mcap"),
        ("of_links", "plain"),
        ("plain/drive.unfinished.mcap", "plain/drive.mcap"),
    ],
)
def test_an_input_is_not_written_over(places: Path, source: str, out: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(source, out)
    assert f"--out {Path(out)} " in str(caught.value)
    assert f"BAG {Path(source)}, which is read; give another name" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "out", "kind"),
    [
        ("plain/drive.mcap", "plain/out.mcap", "bag"),
        ("plain/drive.mcap", "plain/out", "bag"),
        ("plain/drive.mcap", "bag", "bag"),
        ("plain/drive.mcap", "bag/new.mcap", "bag"),
        ("bag", "bag2", "bag"),
        ("bag", "bag.mcap", "bag"),
        ("bag", "plain/bag", "bag"),
        ("bag", "plain/report.json", "file"),
        ("plain/drive.mcap", "plain", "folder"),
        ("bag", ".", "folder"),
        ("none.mcap", "none2.mcap", "bag"),
    ],
)
def test_what_loses_nothing_is_allowed(places: Path, source: str, out: str, kind: Kind) -> None:
    check(source, out, kind)


def test_folders_for_files_may_hold_an_input_but_not_be_one(places: Path) -> None:
    for out in ("bag", "linked", "bag/pictures"):
        with pytest.raises(ConfigurationError, match="give another folder"):
            check("bag", out, "folder")


def test_a_folder_is_no_file(places: Path) -> None:
    for out, kind in (("plain", "file"), ("linked", "file")):
        with pytest.raises(ConfigurationError, match=f"--out {out} is a folder"):
            refuse_losses([Output("--out", Path(out), kind)], [])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "second"),
    [("a.json", "a.json"), ("a.json", "./b/../a.json"), ("A.json", "a.json"), ("link.mcap", "plain/drive.mcap")],
)
def test_two_results_do_not_share_a_place(places: Path, first: str, second: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--results .* is the place of --out"):
        refuse_losses([Output("--out", Path(first)), Output("--results", Path(second))], [])
    refuse_losses([Output("--out", Path("one.json")), Output("--results", Path("two.json"))], [])


def test_the_root_is_no_place(places: Path) -> None:
    for kind in ("bag", "folder"):
        with pytest.raises(ConfigurationError, match="/ "):
            check("plain/drive.mcap", "/", kind)  # type: ignore[arg-type]


def test_links_in_a_circle_are_no_place(places: Path) -> None:
    os.symlink("circle", "circle")
    check("plain/drive.mcap", "circle/out.mcap")  # whoever opens it says what is wrong
