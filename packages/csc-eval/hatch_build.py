"""Builds the C kernels into the package: with the system's compiler if there is one, else with zig (from PyPI).

``CSC_EVAL_TARGET`` names a platform to build a wheel for (one of ``TARGETS``); zig then compiles for it wherever the
build runs. The library speaks plain C through ctypes, so one wheel per platform serves every Python version.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TARGETS = {
    "manylinux_2_17_x86_64": ("x86_64-linux-gnu.2.17", "_kernels.so"),
    "manylinux_2_17_aarch64": ("aarch64-linux-gnu.2.17", "_kernels.so"),
    "macosx_11_0_x86_64": ("x86_64-macos.11.0", "_kernels.dylib"),
    "macosx_11_0_arm64": ("aarch64-macos.11.0", "_kernels.dylib"),
    "win_amd64": ("x86_64-windows-gnu", "_kernels.dll"),
}
FLAGS = ["-std=c11", "-O3", "-shared", "-ffp-contract=off", "-fvisibility=hidden"]


def system_compiler() -> list[str] | None:
    """Return the command of the system's C compiler; None where there is none that takes our flags."""
    if sys.platform == "win32":
        return None
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    found = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    return [found] if found else None


def library_name() -> str:
    """Return the file name of the library on this platform; csc_eval looks for the same."""
    return {"win32": "_kernels.dll", "darwin": "_kernels.dylib"}.get(sys.platform, "_kernels.so")


class KernelBuildHook(BuildHookInterface[Any]):
    """Compiles ``native/*.c`` before a wheel is packed; an editable install gets the library beside the sources."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Ask for zig only where it is needed: it is large."""
        needs_zig = self.target_name == "wheel" and (os.environ.get("CSC_EVAL_TARGET") or system_compiler() is None)
        return ["ziglang>=0.13"] if needs_zig else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and mark the wheel as belonging to one platform."""
        if self.target_name != "wheel":
            return
        target = os.environ.get("CSC_EVAL_TARGET")
        triple, name = TARGETS[target] if target else ("", library_name())
        # An editable install finds the library beside the sources; a wheel gets it from a folder of its own, so that
        # building for another platform leaves the checkout's alone.
        editable = version == "editable"
        folder = Path(self.root) / "src" / "csc_eval" if editable else Path(tempfile.mkdtemp(prefix="csc-eval-"))
        library = folder / name
        fresh = folder / f"{name}.new"
        sources = sorted(str(path) for path in (Path(self.root) / "native").glob("*.c"))
        command = [*self._compiler(triple), *FLAGS, "-o", str(fresh), *sources, *self._platform_flags(name)]
        subprocess.run(command, check=True)  # noqa: S603 - our own command, no shell
        fresh.replace(library)  # a process that has the old one open keeps it
        platform = target or sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
        build_data["pure_python"] = False
        if not editable:
            build_data["force_include"][str(library)] = f"csc_eval/{name}"

    @staticmethod
    def _platform_flags(name: str) -> list[str]:
        return [] if name.endswith(".dll") else ["-fPIC", "-lm"]

    @staticmethod
    def _compiler(triple: str) -> list[str]:
        compiler = None if triple else system_compiler()
        if compiler is not None:
            return compiler
        if importlib.util.find_spec("ziglang") is None:
            message = (
                "building csc-eval needs a C compiler: install one (cc, gcc, clang) or ziglang (pip install ziglang)"
            )
            raise RuntimeError(message)
        return [sys.executable, "-m", "ziglang", "cc", "-s", *(["-target", triple] if triple else [])]
