"""pip entry point; colcon builds the package through CMakeLists.txt."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

_DEFINITIONS = Path("msg")
_INSTALLED_AS = Path("semlt3d_ros", "messages", "definitions")


class BuildWithMessages(build_py):
    """Puts ``msg/*.msg``, which ROS wants at the top, beside the code that reads them where there is no ROS."""

    def run(self) -> None:
        """Build, then add the definitions."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib) / _INSTALLED_AS
            self.mkpath(str(target))
            for path in sorted(_DEFINITIONS.glob("*.msg")):
                self.copy_file(str(path), str(target / path.name))

    def get_source_files(self) -> list[str]:
        """Source distributions need the definitions too."""
        return [*super().get_source_files(), *map(str, sorted(_DEFINITIONS.glob("*.msg")))]


setup(cmdclass={"build_py": BuildWithMessages})
