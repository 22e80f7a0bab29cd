"""pip entry point; colcon builds the package through CMakeLists.txt."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

_PACKAGE = Path("semlt3d_ros")
_CARRIED = {
    Path("msg"): ("*.msg", _PACKAGE / "messages" / "definitions"),
    Path("config"): ("recording.yaml", _PACKAGE / "config"),
    Path("config", "classes"): ("*.yaml", _PACKAGE / "config" / "classes"),
    Path("config", "label_maps"): ("*.yaml", _PACKAGE / "config" / "label_maps"),
    Path("config", "second_opinion"): ("*.yaml", _PACKAGE / "config" / "second_opinion"),
    Path("config", "splits"): ("*.yaml", _PACKAGE / "config" / "splits"),
}
"""Folders that ROS wants at the top, which of their files are needed, and where the package looks for them."""


class BuildWithMessages(build_py):
    """Puts what ROS wants at the top beside the code that reads it where there is no ROS."""

    def run(self) -> None:
        """Build, then add what is carried."""
        super().run()
        if not self.editable_mode:
            for folder, (pattern, place) in _CARRIED.items():
                target = Path(self.build_lib) / place
                self.mkpath(str(target))
                for path in sorted(folder.glob(pattern)):
                    self.copy_file(str(path), str(target / path.name))

    def get_source_files(self) -> list[str]:
        """Source distributions need what is carried too."""
        carried = (path for folder, (pattern, _) in _CARRIED.items() for path in sorted(folder.glob(pattern)))
        return [*super().get_source_files(), *map(str, carried)]


setup(cmdclass={"build_py": BuildWithMessages})
