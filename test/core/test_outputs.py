"""Results take their name when they are whole; until then what was there stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.outputs import Draft, require_place, unfinished, whole, write_whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "made" / "result.json"
    with whole(path) as draft:
        assert draft == unfinished(path) == path.with_name("result.unfinished.json")
        draft.write_text("half")
        assert names(path.parent) == ["result.unfinished.json"]
        draft.write_text("whole")
    assert names(path.parent) == ["result.json"]
    assert path.read_text() == "whole"
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask(), "readable for whom other files are"


def current_umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_what_was_there(tmp_path: Path, failure: type[BaseException]) -> None:
    path = tmp_path / "result.json"
    path.write_text("earlier")
    with pytest.raises(failure), whole(path) as draft:
        draft.write_text("half")
        raise failure
    assert (names(tmp_path), path.read_text()) == (["result.json"], "earlier")


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path: Path, disk_of) -> None:
    path = tmp_path / "result.json"
    path.write_text("earlier")
    with disk_of(1000), pytest.raises(ConfigurationError, match=r"result\.json: .*unchanged"):
        write_whole(path, "x" * 5000)
    assert (names(tmp_path), path.read_text()) == (["result.json"], "earlier")


def test_a_link_goes_on_pointing_at_the_result(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "latest.json"
    link.symlink_to(tmp_path / "disk" / "run.json")
    for text in ("first", "second"):
        write_whole(link, text)
        assert link.is_symlink()
        assert (tmp_path / "disk" / "run.json").read_text() == text


def test_no_folder_is_made_where_a_link_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "lost.json").symlink_to(tmp_path / "none" / "run.json")
    with pytest.raises(ConfigurationError, match=r"cannot write .*lost\.json"):
        write_whole(tmp_path / "lost.json", "text")
    assert names(tmp_path) == ["lost.json"]


def test_other_names_of_an_earlier_file_keep_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "earlier")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    write_whole(tmp_path / "a", "later")
    assert (tmp_path / "b").read_text() == "earlier"


def test_a_folder_appears_at_once_or_is_filled(tmp_path: Path) -> None:
    path = tmp_path / "pictures"
    with whole(path, folder=True) as draft:
        assert draft.name == "pictures.unfinished"
        (draft / "a.png").write_text("1")
        assert not path.exists()
    (path / "notes.txt").write_text("mine")
    with pytest.raises(ZeroDivisionError), whole(path, folder=True) as draft:
        (draft / "a.png").write_text("2")
        raise ZeroDivisionError
    assert (path / "a.png").read_text() == "1"
    with whole(path, folder=True) as draft:
        (draft / "a.png").write_text("3")
        (draft / "b.png").write_text("3")
    assert (names(tmp_path), names(path)) == (["pictures"], ["a.png", "b.png", "notes.txt"])
    assert (path / "a.png").read_text() == "3" and (path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("folder", [False, True])
def test_what_a_killed_run_left_is_replaced(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "result"
    part = "draft / 'part'" if folder else "draft"
    program = (
        "import os, signal, sys; from pathlib import Path; from semlt3d_ros.core.outputs import whole\n"
        f"with whole(Path(sys.argv[1]), folder={folder}) as draft:\n"
        f"    ({part}).write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    result = subprocess.run([sys.executable, "-c", program, str(path)], timeout=60, check=False)
    assert result.returncode == -signal.SIGKILL
    assert names(tmp_path) == ["result.unfinished"]
    with whole(path, folder) as draft:
        (draft / "all" if folder else draft).write_text("whole")
    assert names(tmp_path) == ["result"]
    assert not folder or names(path) == ["all"]


def test_a_leftover_that_is_linked_elsewhere_is_not_written_to(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text("what the killed run had")
    unfinished(tmp_path / "result.json").hardlink_to(kept)
    write_whole(tmp_path / "result.json", "whole")
    assert kept.read_text() == "what the killed run had"
    assert (tmp_path / "result.json").read_text() == "whole"


def test_two_writers_of_a_place_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "result"
    first = Draft(path, wait=False)
    first.draft.write_text("first")
    with pytest.raises(ConfigurationError, match="written by another process"):
        Draft(path, wait=False)
    second = threading.Thread(target=write_whole, args=(path, "second"))
    second.start()  # waits for its turn
    first.finish()
    second.join(60)
    assert (names(tmp_path), path.read_text()) == (["result"], "second")


def test_many_writers_of_a_place_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "result"
    texts = [str(number) * 50_000 for number in range(8)]
    threads = [threading.Thread(target=write_whole, args=(path, text)) for text in texts for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert names(tmp_path) == ["result"]
    assert path.read_text() in texts


@pytest.mark.parametrize(
    ("name", "folder", "words"),
    [("folder", False, "is a folder"), ("file", True, "is a file"), ("pipe", False, "is no plain file")],
)
def test_things_of_another_kind_are_not_replaced(tmp_path: Path, name: str, folder: bool, words: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigurationError, match=f"{name} {words}"), whole(tmp_path / name, folder):
        pass
    assert names(tmp_path) == ["file", "folder", "pipe"]


@pytest.mark.parametrize("path", ["/proc/x.json", "/proc/none/x.json", "/dev/null/x.json"])
def test_places_that_cannot_be_written_are_named(path: str) -> None:
    with pytest.raises(ConfigurationError, match=f"cannot write {path}"):
        write_whole(Path(path), "x")


def test_a_place_without_a_name_is_none(tmp_path: Path) -> None:
    for folder in (False, True):
        with pytest.raises(ConfigurationError, match="/ cannot be the name of a result"):
            unfinished(Path("/"), folder)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"cannot write .*: .*file is no folder"):
        write_whole(tmp_path / "file" / "result.json", "x")


def test_a_place_is_looked_at_before_a_long_run(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("earlier")
    require_place(tmp_path / "result.json")
    assert names(tmp_path) == ["result.json"] and (tmp_path / "result.json").read_text() == "earlier"
    for path in (Path("/proc/x.json"), tmp_path, tmp_path / ("x" * 255)):
        with pytest.raises(ConfigurationError):
            require_place(path)
