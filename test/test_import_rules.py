"""Who may import whom: the rooms' order, and optional packages each kept to one room."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "semlt3d_ros"

MAY_IMPORT = {
    "core": set(),
    "messages": {"core"},
    "bags": {"core", "messages"},
    "semantics": {"core"},
    "student": {"core"},
    "teacher": {"core"},
    "checkpoints": {"core", "student", "teacher"},
    "export": {"core", "student", "checkpoints"},
    "inference": {"core", "student", "teacher", "semantics", "checkpoints", "export"},
    "losses": {"core", "student", "teacher"},
    "distillation": {"core", "student", "teacher", "semantics", "losses"},
    "evaluation": {"core"},
    "corruptions": {"core"},
    "sensing": {"core", "messages"},
    "middleware": {"core", "messages"},
    "simulation": {"core", "messages", "bags"},
    "datasets": {"core", "messages", "sensing", "bags", "simulation"},
    "training": {
        "checkpoints",
        "core",
        "corruptions",
        "datasets",
        "distillation",
        "evaluation",
        "inference",
        "losses",
        "semantics",
        "sensing",
        "student",
        "teacher",
        "viewing",
    },
    "labelling": {"core", "messages", "bags", "sensing", "inference"},
    "recording": {"core", "messages", "bags", "sensing"},
    "adaptation": {
        "bags",
        "checkpoints",
        "core",
        "datasets",
        "evaluation",
        "inference",
        "labelling",
        "messages",
        "recording",
        "semantics",
        "sensing",
        "training",
        "viewing",
    },
    "viewing": {"core", "messages", "sensing", "bags"},
    "checking": {"core", "messages", "sensing", "viewing"},
}
"""Rooms to the rooms they may import besides themselves. ``nodes``, ``commands`` and ``cli`` may import everything."""

ABOVE_ALL = {"nodes", "commands", "cli"}
"""Nobody below may import these."""

FILE_MAY_IMPORT = {
    "evaluation/bags.py": {"messages", "bags"},
    "evaluation/kitti_truth.py": {"datasets"},
    "evaluation/nuscenes_truth.py": {"datasets"},
}
"""Bridges: single files that may import more than their room."""

TORCH_ROOMS = {
    "student",
    "teacher",
    "checkpoints",
    "export",
    "inference",
    "losses",
    "semantics",
    "distillation",
    "evaluation",
    "labelling",
    "training",
} | ABOVE_ALL

ONLY_IN = {
    "cyclonedds": "middleware/",
    "rclpy": "middleware/",
    "cv_bridge": "messages/",
    "rerun": "viewing/",
    "trimesh": "simulation/",
    "embreex": "simulation/",
    "open_clip": "semantics/",
    "onnxruntime": "export/",
    "onnxscript": "export/",
    "pandas": "datasets/",
    "pyarrow": "datasets/",
    "tensorboard": "training/",
    "ray": "labelling/",
}
"""Optional packages to the one place that imports them."""

SOURCES = sorted(PACKAGE.rglob("*.py"))


def place(path):
    return path.relative_to(PACKAGE).as_posix()


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path, members=False):
    """Dotted names a file imports, anywhere in it: (line, name); those of the ``members`` of modules too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place(path)}:{node.lineno}: imports are absolute here"
            if node.module == "semlt3d_ros":
                yield from ((node.lineno, f"semlt3d_ros.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module
            if members:
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def offences(allowed):
    """Lines whose import ``allowed(path, name)`` refuses."""
    return [
        f"{place(path)}:{line} imports {name}"
        for path in SOURCES
        for line, name in imports(path)
        if not allowed(path, name)
    ]


def test_every_room_has_its_rule():
    rooms = {room(path) for path in SOURCES} - {"__init__"}
    assert rooms - ABOVE_ALL <= set(MAY_IMPORT)


def test_the_rules_themselves_have_no_cycle():
    settled = set()
    while len(settled) < len(MAY_IMPORT):
        ready = {name for name, needs in MAY_IMPORT.items() if needs <= settled} - settled
        assert ready, f"a cycle among {set(MAY_IMPORT) - settled}"
        settled |= ready


def test_rooms_import_only_the_rooms_below_them():
    def allowed(path, name):
        parts = name.split(".")
        if parts[0] != "semlt3d_ros" or len(parts) == 1 or parts[1] == "__version__":
            return True
        mine, other = room(path), parts[1]
        if mine in ABOVE_ALL | {other}:
            return not (mine == "nodes" and other in {"commands", "cli"})
        return other in MAY_IMPORT[mine] | FILE_MAY_IMPORT.get(place(path), set())

    assert offences(allowed) == []


def test_no_files_import_each_other():
    """Not even within functions: a cycle of files is one file that was cut in the wrong place."""
    modules = {f"semlt3d_ros.{place(path).removesuffix('.py').replace('/', '.')}": path for path in SOURCES}
    needs = {
        name: {other for _, other in imports(path, members=True) if other in modules} for name, path in modules.items()
    }
    assert len(list(TopologicalSorter(needs).static_order())) == len(SOURCES)


def test_torch_stays_in_the_rooms_of_models():
    def allowed(path, name):
        return name.split(".")[0] not in {"torch", "torchvision", "timm"} or room(path) in TORCH_ROOMS

    assert offences(allowed) == []


@pytest.mark.parametrize(("package", "home"), ONLY_IN.items())
def test_an_optional_package_is_imported_in_one_place(package, home):
    assert offences(lambda path, name: name.split(".")[0] != package or place(path).startswith(home)) == []


def test_defining_a_configuration_does_not_load_what_checks_it():
    modules = ["cli", "sensing.rig", "student.config", "middleware.parameters", "nodes.detector_parameters"]
    program = (
        f"import sys, {', '.join(f'semlt3d_ros.{name}' for name in modules)}; assert 'pydantic' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


def test_models_and_messages_never_meet_a_middleware_library():
    def allowed(path, name):
        return not (name.split(".")[0] == "rosbags" and room(path) in {"core", "student", "teacher", "evaluation"})

    assert offences(allowed) == []


def test_what_needs_no_model_imports_without_torch_and_optional_packages():
    modules = [
        f"semlt3d_ros.{place(path).removesuffix('.py').replace('/', '.').removesuffix('.__init__')}"
        for path in SOURCES
        if room(path) in {"core", "messages", "sensing", "commands", "cli"} or place(path) == "bags/source.py"
    ]
    program = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {["torch", "timm", *ONLY_IN]!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
import importlib
for module in {modules!r}:
    importlib.import_module(module)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
