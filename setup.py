"""`pip install .`: the library and the `ws3d` command, and, where ROS 2 is at hand, the messages.

The CPU kernels in native/ are built where cmake and a compiler are at hand; the library does without.
ROS is at hand when ament_cmake is found in the environment that pip installs into (the wheels
of requirements-ros.txt) or through AMENT_PREFIX_PATH (a sourced ROS 2). Then the CMake build
runs and its install tree goes into the wheel. colcon never reads this file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.build_py import build_py

# setuptools supplies distutils.
from distutils.command.install_data import install_data  # isort: skip

HERE = Path(__file__).resolve().parent
STAGE = HERE / "build" / f"pip-{sys.implementation.cache_tag}"


def ros_prefixes() -> list[str]:
    """Prefixes with ament_cmake, this environment's last."""
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]
    return [prefix for prefix in prefixes if (Path(prefix) / "share" / "ament_cmake").is_dir()]


def cmake_install(source: Path, name: str, root: Path = STAGE / "root") -> Path:
    """Builds one CMake package below STAGE and installs it into ``root``, which is returned."""
    env = dict(os.environ)
    # pip hides site-packages from an isolated build through PYTHONPATH; the message
    # generators live there.
    env.pop("PYTHONPATH", None)
    env["PATH"] = os.pathsep.join([str(Path(sys.prefix) / "bin"), env["PATH"]])
    for variable in ("CMAKE_PREFIX_PATH", "AMENT_PREFIX_PATH"):
        env[variable] = os.pathsep.join(filter(None, [env.get(variable), sys.prefix]))
    build = STAGE / name
    configure = [
        *("cmake", "-S", str(source), "-B", str(build)),
        f"-DCMAKE_INSTALL_PREFIX={root}",
        "-DPYTHON_INSTALL_DIR=python",
        f"-DPython3_EXECUTABLE={sys.prefix}/bin/python3",
        "-DCMAKE_BUILD_TYPE=Release",
        "-DBUILD_TESTING=OFF",
    ]
    for command in (
        configure,
        ["cmake", "--build", str(build), "-j", str(os.cpu_count())],
        ["cmake", "--install", str(build)],
    ):
        # The generators of unused language bindings are noisy; what matters is shown when it fails.
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-8000:]}")
    return root


class BuildPy(build_py):
    """Adds the generated messages and the CPU kernels to the Python files."""

    def run(self) -> None:
        super().run()
        prefixes = ros_prefixes()
        if not prefixes:
            self.add_kernels()
            return
        root = cmake_install(HERE, "ws3d_ros")  # kernels included
        if not any((Path(prefix) / "share" / "tf2_msgs").is_dir() for prefix in prefixes[:-1]):
            cmake_install(HERE / "compat" / "tf2_msgs", "tf2_msgs")
        self.copy_tree(str(root / "python"), self.build_lib)

    def add_kernels(self) -> None:
        if not shutil.which("cmake"):
            self.warn("no cmake: built without the CPU kernels of native/; sparse convolutions use torch")
            return
        try:
            root = cmake_install(HERE / "native", "native", STAGE / "native_root")
        except SystemExit as error:
            self.warn(f"built without the CPU kernels of native/; sparse convolutions use torch: {error}")
            return
        self.copy_tree(str(root / "python"), self.build_lib)


class InstallData(install_data):
    """Adds the CMake install tree (libraries, message index, headers, launch files)."""

    def run(self) -> None:
        root = STAGE / "root"
        if ros_prefixes():
            folders = [folder for part in ("lib", "share", "include") for folder in (root / part).rglob("*")]
            self.data_files = [
                (
                    str(folder.relative_to(root)),
                    [str(file) for file in sorted(folder.iterdir()) if file.is_file()],
                )
                for folder in [*folders, root / "lib"]
                if folder.is_dir()
            ]
        super().run()


class Compiled(Distribution):
    """The wheel holds messages or kernels where they can be compiled, and is pure Python otherwise."""

    def has_ext_modules(self) -> bool:
        return bool(ros_prefixes() or shutil.which("cmake"))


def config_files() -> list[tuple[str, list[str]]]:
    """config/ as data files, so that the library finds vocabularies without ROS."""
    folders = [HERE / "config", *sorted(path for path in (HERE / "config").rglob("*") if path.is_dir())]
    return [
        (
            f"share/ws3d_ros/{folder.relative_to(HERE)}",
            [str(file.relative_to(HERE)) for file in sorted(folder.iterdir()) if file.is_file()],
        )
        for folder in folders
    ]


setup(
    packages=find_packages(include=["ws3d_ros", "ws3d_ros.*"]),
    include_package_data=False,
    package_data={"ws3d_ros": ["**/data/**/*", "weights/*", "training/recipes/*.yaml", "py.typed"]},
    data_files=[("share/ws3d_ros", ["package.xml"]), *config_files()],
    distclass=Compiled,
    cmdclass={"build_py": BuildPy, "install_data": InstallData},
)
