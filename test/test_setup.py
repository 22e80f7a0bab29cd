"""The set-up script, run as a user runs it: in a copy of the project, with the programs a machine may have or lack."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "setup_environment.py"

FAKE_UV = """#!/bin/sh
echo "$*" >> "{log}"
case "$1" in
  venv) shift; while [ $# -gt 1 ]; do shift; done; exec "{python}" -m venv --without-pip "$1" ;;
  pip) [ ! -e "{broken}" ] ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    """A folder with what the set-up reads of the project."""
    folder = tmp_path / "a clone"
    (folder / "scripts").mkdir(parents=True)
    shutil.copy(SCRIPT, folder / "scripts")
    for name in ("pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def uv(tmp_path):
    """A uv that notes its calls, and whose installations fail while the file ``broken`` exists."""
    programs = tmp_path / "programs"
    programs.mkdir()
    log, broken = tmp_path / "calls", tmp_path / "broken"
    program = programs / "uv"
    program.write_text(FAKE_UV.format(log=log, broken=broken, python=sys.executable))
    program.chmod(0o755)

    class Uv:
        path = programs

        def break_installing(self, yes):
            broken.touch() if yes else broken.unlink()

        def calls(self):
            lines = log.read_text().splitlines() if log.exists() else []
            log.unlink(missing_ok=True)
            return [line.split()[0] for line in lines]

    return Uv()


def set_up(project, extra="all", path="", **environment):
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_", "PYTHON"))}
    return subprocess.run(
        [sys.executable, "scripts/setup_environment.py", extra],
        cwd=project,
        env={**clean, "PATH": str(path), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def script():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("setup_environment", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_set_up_runs_once_and_then_needs_nothing(project, uv):
    first = set_up(project, path=uv.path)
    assert first.returncode == 0, first.stderr
    assert uv.calls() == ["venv", "pip"]
    assert set_up(project, path=uv.path).returncode == 0
    assert uv.calls() == []


def test_tests_need_more_than_the_demo_and_contain_it(project, uv):
    set_up(project, "all", path=uv.path)
    uv.calls()
    assert set_up(project, "test", path=uv.path).returncode == 0
    assert uv.calls() == ["pip"]
    assert set_up(project, "all", path=uv.path).returncode == 0
    assert uv.calls() == []


def test_a_failed_installation_is_taken_up_again(project, uv):
    uv.break_installing(True)
    failed = set_up(project, path=uv.path)
    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1].startswith("setup: error: installing failed")
    assert "Traceback" not in failed.stderr
    assert uv.calls() == ["venv", "pip"]
    uv.break_installing(False)
    assert set_up(project, path=uv.path).returncode == 0
    assert uv.calls() == ["pip"]


def test_changed_requirements_are_installed(project, uv):
    set_up(project, path=uv.path)
    uv.calls()
    with (project / "pyproject.toml").open("a") as file:
        file.write("# another requirement\n")
    assert set_up(project, path=uv.path).returncode == 0
    assert uv.calls() == ["pip"]


def test_an_environment_whose_python_is_gone_is_made_anew(project, uv):
    set_up(project, path=uv.path)
    uv.calls()
    (project / ".venv" / "bin" / "python").unlink()
    assert set_up(project, path=uv.path).returncode == 0
    assert uv.calls() == ["venv", "pip"]


def test_a_python_without_venv_is_told_the_package(project, tmp_path):
    lacking = tmp_path / "lacking"
    lacking.mkdir()
    # Debian's python3 without python3-venv has the module venv, but no ensurepip.
    (lacking / "ensurepip.py").write_text("raise ModuleNotFoundError(\"No module named 'ensurepip'\")\n")
    result = set_up(project, PYTHONPATH=str(lacking))
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "sudo apt install python3-venv" in line
    assert not (project / ".venv").exists()


def test_without_a_network_the_user_is_told(project):
    result = set_up(project, PIP_NO_INDEX="1")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("setup: error: pip could not install uv; is there a network?")
    assert "Traceback" not in result.stderr


def test_too_little_disk_is_refused_before_anything_is_written(script, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "free_bytes", lambda folder: 3 * script.GIGABYTE)
    for name in ("pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, tmp_path)
    assert script.main(["all"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "only 3.0 GB are free" in line and "8 GB are needed" in line
    assert not (tmp_path / ".venv").exists()


def test_free_bytes_of_a_folder_that_does_not_exist_yet(script, tmp_path):
    assert script.free_bytes(tmp_path / "not" / "yet") == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)


def test_an_old_python_is_told_so(script):
    with pytest.raises(script.SetupError, match=r"Python 3\.8 is too old, 3\.10 or newer"):
        script.check_python((3, 8))
    ast.parse(SCRIPT.read_text(), feature_version=(3, 7))


def test_an_unknown_set_is_refused(project):
    result = set_up(project, "everything")
    assert result.returncode == 2
    assert "use one of: all, test" in result.stderr
