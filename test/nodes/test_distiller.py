"""The distiller node: when it lets the loop work, in which order it stops it, what it tells; and real processes."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.small_robot import write_robot
from semlt3d_ros.adaptation.alone import alone
from semlt3d_ros.adaptation.settings import load_settings
from semlt3d_ros.adaptation.status import StatusFile, read_status
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.messages.typestore import message_class, serialize
from semlt3d_ros.nodes.distiller import STEPS_TO_SAVE, DistillerNode
from semlt3d_ros.nodes.distiller_child import BUSY, INTERRUPTED, WAITING
from semlt3d_ros.nodes.distiller_worker import ChildWorker

BOOL = message_class("std_msgs/msg/Bool")


class FakeWorker:
    """Runs until it is told otherwise; writes down what is asked of it."""

    def __init__(self, log: list[str]) -> None:
        self.log, self.status, self.said = log, None, ""
        log.append("started")

    def ask_to_stop(self) -> None:
        self.log.append("asked to stop")

    def kill(self) -> None:
        self.log.append("killed")
        self.status = -signal.SIGKILL


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory) -> Path:
    return write_robot(tmp_path_factory.mktemp("robot"), events=0)


@pytest.fixture
def node(settings_file, memory) -> Callable[..., SimpleNamespace]:
    """Makes a node with workers that only write down what is asked of them."""

    def make(*overrides: str) -> SimpleNamespace:
        middleware = memory(f"settings:={settings_file}", *overrides)
        log: list[str] = []
        workers: list[FakeWorker] = []

        def start(_: Path) -> FakeWorker:
            workers.append(FakeWorker(log))
            return workers[-1]

        made = DistillerNode(middleware, start)

        def parked(is_parked: bool) -> None:
            [topic] = [name for name in middleware.subscriptions if name.endswith("parked")]
            data = serialize(BOOL(data=is_parked), "std_msgs/msg/Bool")
            middleware.subscriptions[topic].callback(data, 0)

        def steps(count: int) -> None:
            for _ in range(count):
                made.step()

        return SimpleNamespace(node=made, log=log, workers=workers, parked=parked, steps=steps, middleware=middleware)

    return make


def diagnosed(robot: SimpleNamespace) -> tuple[int, str]:
    robot.node.report()
    status = robot.middleware.published["/diagnostics"][-1].status[0]
    level = status.level
    return (level[0] if isinstance(level, bytes) else int(level)), status.message


def test_it_works_only_while_the_vehicle_says_that_it_is_parked(node) -> None:
    robot = node()
    robot.steps(5)
    assert robot.log == [] and diagnosed(robot) == (0, "the vehicle does not say that it is parked, on parked")
    robot.parked(True)
    robot.steps(1)
    assert robot.log == ["started"] and robot.node.working
    robot.parked(False)
    assert robot.log == ["started", "asked to stop"]  # at once, not at the next step
    robot.workers[0].status = INTERRUPTED
    robot.steps(10)
    assert not robot.node.working and len(robot.workers) == 1
    robot.parked(True)
    robot.steps(1)
    assert len(robot.workers) == 2  # what was stopped goes on at once


def test_a_worker_that_does_not_end_is_killed_before_two_seconds_are_over(node) -> None:
    robot = node()
    robot.parked(True)
    robot.steps(1)
    robot.parked(False)
    robot.steps(STEPS_TO_SAVE)
    assert robot.log == ["started", "asked to stop"]
    robot.steps(1)
    assert robot.log == ["started", "asked to stop", "killed"] and (STEPS_TO_SAVE + 1) * 0.1 < 2
    robot.steps(20)
    assert not robot.node.working and robot.log[-1] == "killed"


def test_a_vehicle_that_says_nothing_any_more_counts_as_on_its_way(node) -> None:
    robot = node("parked_timeout_s:=1.0")
    robot.parked(True)
    robot.steps(10)
    assert robot.log == ["started"]
    robot.steps(1)
    assert robot.log == ["started", "asked to stop"]
    robot.workers[0].status = INTERRUPTED
    robot.steps(1)
    assert diagnosed(robot) == (0, "nothing was heard on parked for 1 s")


def test_services_and_the_parameter_allow_and_forbid(node) -> None:
    robot = node("parked_topic:=''", "allowed:=false")
    robot.steps(3)
    assert robot.log == [] and diagnosed(robot)[1].startswith("not allowed")
    assert robot.middleware.ask("~/allow") == (True, "allowed")
    robot.steps(1)
    assert robot.log == ["started"] and diagnosed(robot)[0] == 0
    assert robot.middleware.ask("~/forbid") == (True, "stopping")
    assert robot.log == ["started", "asked to stop"]


def test_after_a_round_it_rests_and_what_is_wrong_is_told(node) -> None:
    robot = node("parked_topic:=''", "retry_s:=2.0")
    robot.steps(1)
    robot.workers[0].status, robot.workers[0].said = WAITING, "0 new events"
    robot.steps(20)
    assert len(robot.workers) == 1 and diagnosed(robot)[0] == 0
    robot.steps(2)
    assert len(robot.workers) == 2
    robot.workers[1].status, robot.workers[1].said = BUSY, "another distiller is at work"
    robot.steps(1)
    assert diagnosed(robot) == (1, "another distiller is at work")
    robot.node.close()


def test_the_status_is_that_of_the_file_and_of_a_worker_that_is_gone_it_is_idle(node, settings_file) -> None:
    robot = node("parked_topic:=''")
    robot.steps(1)
    work = load_settings(settings_file).work
    work.mkdir(exist_ok=True)
    StatusFile(work, lambda status: None).set(
        state="training", message="learning", training_step=3, training_steps=9, running_held_back=0.25
    )
    robot.steps(1)
    [topic] = [name for name in robot.middleware.published if name.endswith("/status")]
    told = robot.middleware.published[topic][-1]
    assert (told.state, told.training_step, told.training_steps) == (told.TRAINING, 3, 9)
    assert told.running_held_back_score == 0.25 and told.candidate_held_back_score != told.candidate_held_back_score
    robot.workers[0].status = -9
    robot.steps(1)
    told = robot.middleware.published[topic][-1]
    assert (told.state, told.message) == (told.IDLE, "interrupted while training")
    assert diagnosed(robot) == (1, "the worker ended with status -9")


def test_settings_that_do_not_fit_are_told_before_anything_starts(memory) -> None:
    with pytest.raises(ConfigurationError, match="the parameter 'settings' is empty"):
        DistillerNode(memory())
    with pytest.raises(ConfigurationError, match=r"none\.yaml"):
        DistillerNode(memory("settings:=none.yaml"))


@pytest.fixture(scope="module")
def robot_file(tmp_path_factory) -> Path:
    return write_robot(tmp_path_factory.mktemp("robot"), events=4, least_new=3)


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(6000):
        if holds():
            return
        signal.sigtimedwait([], 0.01)
    raise AssertionError("that never came")


def test_a_real_worker_is_refused_while_another_one_is_at_work(robot_file) -> None:
    with alone(load_settings(robot_file).work):
        worker = ChildWorker(robot_file)
        wait_until(lambda: worker.status is not None)
    assert worker.status == BUSY and "another distiller is at work" in worker.said


def test_a_real_worker_stops_when_it_is_told_and_goes_on_where_it_was(robot_file) -> None:
    work = load_settings(robot_file).work
    worker = ChildWorker(robot_file)
    wait_until(lambda: (status := read_status(work)) is not None and status.message.startswith("labelling"))
    worker.ask_to_stop()
    wait_until(lambda: worker.status is not None)
    assert worker.status == INTERRUPTED and worker.said == ""
    status = read_status(work)
    assert status.state == "idle" and status.message.startswith("interrupted while ")
    with alone(work):
        pass


def test_a_worker_ends_with_its_node_whatever_way_that_ends(robot_file) -> None:
    work = load_settings(robot_file).work
    node = os.fork()
    if node == 0:
        _worker = ChildWorker(robot_file)
        wait_until(lambda: (work / "lock").exists() and read_status(work).state == "replaying")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(node, 0)

    def is_free() -> bool:
        try:
            with alone(work):
                return True
        except ConfigurationError:
            return False

    wait_until(is_free)
