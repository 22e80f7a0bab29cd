"""What colcon and pip are told about the package agrees with what is in it."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

import semlt3d_ros
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.typestore import OWN_MESSAGES

ROOT = Path(__file__).resolve().parents[2]
CMAKE = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()
PROGRAMS = ("detector", "distiller", "event_recorder", "player", "semlt3d")


def depends(*kinds: str) -> set[str]:
    return {element.text or "" for kind in kinds for element in MANIFEST.findall(kind)}


def test_manifest_is_of_the_kind_that_generates_messages():
    assert MANIFEST.get("format") == "3"
    assert MANIFEST.findtext("name") == "semlt3d_ros"
    assert MANIFEST.findtext("version") == semlt3d_ros.__version__
    assert MANIFEST.findtext("export/build_type") == "ament_cmake"
    assert depends("member_of_group") == {"rosidl_interface_packages"}
    # catkin_pkg refuses an address without a top-level domain, and colcon then takes the package for plain CMake.
    assert re.fullmatch(r"[^@\s]+@[^@\s]+\.[a-z]+", MANIFEST.find("maintainer").get("email"))


def test_every_package_whose_messages_are_spoken_is_depended_on():
    types = [value for key, value in vars(topics).items() if key.endswith("_TYPE")]
    # Autoware's objects are offered where Autoware is, and need not be where it is not.
    spoken = {type_name.split("/")[0] for type_name in types} - {"semlt3d_ros", "autoware_perception_msgs"}
    assert spoken <= depends("depend", "exec_depend"), "package.xml"


def test_no_dependency_is_declared_twice():
    names = [element.text for element in MANIFEST if element.tag in ("depend", "exec_depend")]
    assert len(names) == len(set(names))


def test_cmake_generates_every_message():
    listed = re.findall(r'"msg/(\w+)\.msg"', CMAKE)
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "msg").glob("*.msg")) == sorted(OWN_MESSAGES)


def test_messages_are_generated_before_the_package_is_installed_over_them():
    generated, installed = CMAKE.index("rosidl_generate_interfaces("), CMAKE.index("install(DIRECTORY ${PROJECT_NAME}/")
    assert generated < installed
    assert not re.search(r"^\s*ament_python_install_package", CMAKE, re.MULTILINE), "rosidl has registered that name"


def test_no_room_hides_generated_code():
    assert not {"msg", "srv", "action"} & {path.name for path in (ROOT / "semlt3d_ros").iterdir()}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_take_the_active_python(name: str):
    path = ROOT / "scripts" / name
    assert path.read_text(encoding="utf-8").splitlines()[0] == "#!/usr/bin/env python3"
    assert os.access(path, os.X_OK)
    assert f"scripts/{name}" in CMAKE


def test_what_is_installed_is_there():
    folders = re.search(r"install\(DIRECTORY ([\w ]+)\s+DESTINATION share", CMAKE)[1].split()
    assert {"config", "launch"} <= set(folders)
    assert all((ROOT / folder).is_dir() for folder in folders)


@pytest.mark.parametrize("path", sorted((ROOT / "launch").glob("*.py")), ids=lambda path: path.name)
def test_launch_files_need_nothing_but_ros(path: Path):
    """`ros2` runs on the system's Python: nothing that pip installed into an environment can be imported there."""
    known = {"ament_index_python", "launch", "launch_ros", "yaml"}
    # See test_vehicle.py.
    known |= {"semlt3d_ros.nodes.launch_arguments", "semlt3d_ros.nodes.vehicle"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            package = module.split(".")[0]
            assert {package, module} & known or package in sys.stdlib_module_names, module


@pytest.mark.parametrize("name", ["detector.yaml", "event_recorder.yaml", "model.yaml"])
def test_ros_can_read_the_parameter_files(name: str):
    """rcl gives an empty list no type, and the node could then not be made."""
    for section in yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8")).values():
        for parameter, value in section["ros__parameters"].items():
            assert value not in ([], None), parameter


def test_generated_messages_of_a_workspace_are_found_from_the_source_tree(tmp_path: Path):
    generated = tmp_path / "semlt3d_ros"
    (generated / "msg").mkdir(parents=True)
    (generated / "__init__.py").touch()
    (generated / "msg" / "__init__.py").write_text("PLACE = 'workspace'", encoding="utf-8")
    program = "import semlt3d_ros, semlt3d_ros.msg as m; print(m.PLACE, semlt3d_ros.__version__)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["workspace", semlt3d_ros.__version__]


def test_pip_builds_the_library_with_its_definitions_and_weights(tmp_path: Path):
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "semlt3d_ros", tree / "semlt3d_ros", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "msg", tree / "msg")
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tree)
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "built")]
    subprocess.run(command, cwd=tree, check=True, capture_output=True, timeout=120)
    built = tmp_path / "built" / "semlt3d_ros"
    definitions = {path.stem for path in (built / "messages" / "definitions").glob("*.msg")}
    assert definitions == set(OWN_MESSAGES)
    assert (built / "py.typed").is_file() and list((built / "weights").glob("*.safetensors"))
    program = (
        "from semlt3d_ros.messages.typestore import message_class; "
        "print(message_class('semlt3d_ros/msg/DistillationStatus').IDLE)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "built")}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0"
