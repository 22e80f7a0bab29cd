"""pip entry point; colcon builds the package through CMakeLists.txt."""

from setuptools import setup

setup()
