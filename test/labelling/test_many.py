"""Many recordings: those that are labelled are left alone, those that fail keep no others from it, also on Ray."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from semlt3d_ros.core.errors import ConfigurationError, Semlt3dError
from semlt3d_ros.labelling.many import label_all
from semlt3d_ros.labelling.recording import LabelJob, Labelled


@pytest.fixture
def jobs(messages, cloud, recording, tmp_path):
    """Three recordings, the second of which has no cloud."""
    made = []
    for number, clouds in enumerate(([cloud(0)], [], [cloud(1)])):
        bag = recording.write(tmp_path / f"{number}.mcap", messages(clouds))
        made.append(LabelJob(bag, tmp_path / "out" / f"{number}.mcap"))
    return made


def kinds(results):
    return [type(result).__name__ for _, result in results]


def check(jobs, teacher, ray):
    told = []
    results = label_all(jobs, teacher, None, "cpu", ray, lambda done, of: told.append((done, of)))
    assert kinds(results) == ["Labelled", "ConfigurationError", "Labelled"]
    assert [job for job, _ in results] == jobs and told == [(n, 3) for n in range(4)]
    assert "no cloud to label" in str(results[1][1]) and results[0][1].counts["clouds"] == 1


def test_one_after_the_other(jobs, teachers) -> None:
    check(jobs, teachers[0], None)


def test_what_is_labelled_is_left_alone_and_what_was_interrupted_is_not(jobs, teachers) -> None:
    check(jobs, teachers[0], None)
    before = jobs[0].out.stat().st_mtime_ns
    jobs[2].out.unlink()  # as if it had been interrupted there
    jobs[2].out.with_name("2.unfinished.mcap").write_bytes(b"half")
    again = label_all(jobs, teachers[0], None, "cpu", None, lambda done, of: None)
    assert kinds(again) == ["NoneType", "ConfigurationError", "Labelled"]
    assert jobs[0].out.stat().st_mtime_ns == before
    assert sorted(path.name for path in jobs[0].out.parent.iterdir()) == ["0.mcap", "2.mcap"]


def test_on_ray(jobs, teachers, monkeypatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.chdir(jobs[0].bag.parent)
    near = [replace(job, bag=Path(job.bag.name), out=Path("out", job.out.name)) for job in jobs]
    check(near, teachers[0], "local")


def test_a_cluster_that_is_not_there_is_an_error(jobs, teachers) -> None:
    pytest.importorskip("ray")
    with pytest.raises(ConfigurationError, match=r"--ray 127.0.0.1:1: no Ray cluster"):
        label_all(jobs, teachers[0], None, "cpu", "127.0.0.1:1", lambda done, of: None)


def test_without_ray_it_says_what_to_install(jobs, teachers, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'semlt3d_ros\[ray\]'"):
        label_all(jobs, teachers[0], None, "cpu", "local", lambda done, of: None)


def test_a_teacher_that_cannot_be_read_is_told_before_all(jobs, tmp_path) -> None:
    with pytest.raises(Semlt3dError):
        label_all(jobs, tmp_path / "none.safetensors", None, "cpu", None, lambda done, of: None)
    assert not (tmp_path / "out").exists()


def test_results_are_of_their_jobs(jobs, teachers) -> None:
    results = label_all(jobs[::-1], teachers[0], None, "cpu", None, lambda done, of: None)
    assert [isinstance(result, Labelled) for _, result in results] == [True, False, True]
