"""Versions of a model folder: whole or not there, verified, promoted and taken back, whatever breaks in between."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from semlt3d_ros.adaptation.models import CURRENT, ModelStore
from semlt3d_ros.core.errors import ConfigurationError


def names(store: ModelStore) -> list[str]:
    return [entry.name for entry in store.history()]


def test_versions_are_copies_with_what_is_known_of_them(store, checkpoint) -> None:
    first = store.add(checkpoint(1), {"parent": "shipped", "events": 3})
    second = store.add(checkpoint(2), {}, {"promoted": False})
    assert first.name.startswith("small1@") and store.path(first.name).read_bytes() == checkpoint(1).read_bytes()
    assert store.add(checkpoint(1), {"other": 1}) == first, "it is there already"
    found, faults = store.versions()
    assert found == [first, second] and not faults and found[0].provenance == {"parent": "shipped", "events": 3}
    assert store.current() is None and store.history() == []
    assert store.judged(first.name, {"promoted": True}).verdict == {"promoted": True} == store.read(first.name).verdict


def test_promoted_taken_back_and_taken_back_again(store, checkpoint) -> None:
    a, b, c = (store.add(checkpoint(seed), {}).name for seed in (1, 2, 3))
    for name in (a, b, c):
        store.promote(name)
        assert store.current() == name and (store.folder / CURRENT).read_bytes() == store.path(name).read_bytes()
    assert store.roll_back("slow").name == b and store.current() == b
    assert store.history()[-1].why == "rolled back: slow" and store.history()[-1].confirmed
    assert store.roll_back("slow too").name == a, "not to the one that was given up"
    with pytest.raises(ConfigurationError, match="no earlier version"):
        store.roll_back("all are slow")
    store.promote(c)
    assert store.roll_back("again").name == a
    assert names(store) == [a, b, c, b, a, c, a]


def test_a_version_that_is_gone_is_passed_over_on_the_way_back(store, checkpoint) -> None:
    a, b, c = (store.add(checkpoint(seed), {}).name for seed in (1, 2, 3))
    for name in (a, b, c):
        store.promote(name)
    shutil.rmtree(store.path(b).parent)
    assert store.roll_back("slow").name == a


def test_confirmed_after_its_watch(store, checkpoint) -> None:
    store.promote(store.add(checkpoint(1), {}).name)
    assert not store.history()[-1].confirmed
    store.confirm()
    store.confirm()
    assert store.history()[-1].confirmed and len(store.history()) == 1


def test_what_was_put_in_place_by_hand_can_be_gone_back_to(store, checkpoint) -> None:
    shutil.copyfile(checkpoint(1), store.folder / CURRENT)
    assert store.current() is None
    store.promote(store.add(checkpoint(2), {}).name)
    assert store.roll_back("worse").name.startswith("small1@")
    assert (store.folder / CURRENT).read_bytes() == checkpoint(1).read_bytes()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (truncate, "its SHA-256 is another one"),
        (flip, "its SHA-256 is another one"),
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: os.chmod(path, 0o666), r"can be written by others \(mode 0666\).*chmod go-w"),
        (lambda path: os.chmod(path.parent, 0o777), "can be written by others"),
        (lambda path: (path.parent / "version.json").write_text("{"), "cannot be read"),
    ],
)
def test_what_is_not_what_came_in_does_not_run(store, checkpoint, spoil, text) -> None:
    good, bad = (store.add(checkpoint(seed), {}).name for seed in (1, 2))
    store.promote(good)
    spoil(store.path(bad))
    with pytest.raises(ConfigurationError, match=text):
        store.promote(bad)
    assert store.current() == good and names(store) == [good]


def test_what_is_no_checkpoint_does_not_come_in(store, checkpoint, tmp_path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(checkpoint(1).read_bytes()[:5000])
    with pytest.raises(ConfigurationError, match=r"cut\.safetensors"):
        store.add(cut, {})
    with pytest.raises(ConfigurationError, match=r"nothing\.safetensors"):
        store.add(tmp_path / "nothing.safetensors", {})
    assert store.versions() == ([], [])


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "/etc"])
def test_names_lead_nowhere_else(store, name) -> None:
    with pytest.raises(ConfigurationError, match="is not the name of a version"):
        store.promote(name)


def test_unknown_names_are_told_with_those_that_there_are(store, checkpoint) -> None:
    known = store.add(checkpoint(1), {}).name
    with pytest.raises(ConfigurationError, match=f"has no version 'city@0'; it has {known}"):
        store.promote("city@0")


def test_a_folder_that_others_can_write_to_is_refused(tmp_path) -> None:
    folder = tmp_path / "models"
    folder.mkdir(mode=0o777)
    os.chmod(folder, 0o777)
    with pytest.raises(ConfigurationError, match="chmod go-w"):
        ModelStore(folder)
    os.chmod(folder, 0o755)
    ModelStore(folder)


def test_a_damaged_version_is_told_and_hides_no_other(store, checkpoint) -> None:
    good, bad = (store.add(checkpoint(seed), {}).name for seed in (1, 2))
    (store.path(bad).parent / "version.json").write_text(json.dumps({"name": bad}))
    found, faults = store.versions()
    assert [version.name for version in found] == [good] and len(faults) == 1 and bad in faults[0]


OPERATIONS = ("os.replace", "os.symlink", "os.fsync", "shutil.copyfile", "os.chmod", "os.mkdir")


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_whatever_fails_the_former_version_runs(store, checkpoint, monkeypatch, operation, code) -> None:
    a, b = (store.add(checkpoint(seed), {}).name for seed in (1, 2))
    store.promote(a)
    module, function = {"os": os, "shutil": shutil}[operation.split(".")[0]], operation.split(".")[1]
    real, failed = getattr(module, function), 0
    for number in range(12):
        calls = []

        def breaking(*arguments, calls=calls, number=number, **options):
            calls.append(1)
            if len(calls) == number + 1:
                raise OSError(code, os.strerror(code))
            return real(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(module, function, breaking)
            try:
                store.add(checkpoint(3), {})
                store.promote(b)
            except (ConfigurationError, OSError):
                failed += 1
        fresh = ModelStore(store.folder)
        current = fresh.current()
        assert current in (a, b)
        fresh.verify(current)
        assert names(fresh)[-1] == current
        for version in fresh.versions()[0]:
            fresh.verify(version.name)
        shutil.rmtree(store.folder / "versions" / "small3", ignore_errors=True)
        for left in (store.folder / "versions").glob("small3@*"):
            shutil.rmtree(left)
        if current == b:
            fresh.promote(a)
    assert failed > 0 or operation == "os.mkdir"


PROMOTER = """
import sys
from semlt3d_ros.adaptation.models import ModelStore
store = ModelStore(sys.argv[1])
print("ready", flush=True)
while True:
    for name in sys.argv[2:]:
        store.promote(name)
    store.roll_back("because")
"""


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment_a_whole_version_runs(store, checkpoint, seed) -> None:
    known = [store.add(checkpoint(each), {}).name for each in (1, 2)]
    for kill in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", PROMOTER, str(store.folder), *known], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.003 * (7 * seed + 3 * kill) % 0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        fresh = ModelStore(store.folder)
        current = fresh.current()
        if current is not None:
            assert fresh.verify(current).name in known and names(fresh)[-1] == current
        fresh.promote(known[0])
