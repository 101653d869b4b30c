"""Builds bams3/native/*.c into one plain shared library, bams3/_kernels.so, for ctypes.

No Python.h and no ABI tag in its name: one wheel serves every Python of a platform. Everything else about the
package is in pyproject.toml. BAMS3_SANITIZE=1 builds it with ASan and UBSan (`make sanitize`).
"""

import os
import shutil
from glob import glob

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

FLAGS = "-std=c99 -O3 -ffp-contract=off -fvisibility=hidden -Wall -Wextra -Wconversion -Werror".split()
# -Wconversion off: it takes what the sanitizers put in for our code
SANITIZE = (
    "-O1 -g -Wno-conversion -Wno-sign-conversion -fsanitize=address,undefined -fno-sanitize-recover".split()
)
EXTRA = SANITIZE if os.environ.get("BAMS3_SANITIZE") == "1" else []


class BuildLibrary(build_ext):
    """An extension build whose result is a plain library: no init function, no ABI tag in its name."""

    def get_ext_filename(self, fullname: str) -> str:
        return os.path.join(*fullname.split(".")) + ".so"

    def get_export_symbols(self, _ext: Extension) -> list[str]:
        return []

    def build_extension(self, ext: Extension) -> None:
        compiler = self.compiler.compiler_so[0]
        if shutil.which(compiler) is None:
            raise SystemExit(f"bams3: no C compiler {compiler!r}: install gcc or clang, or name one in CC")
        super().build_extension(ext)


class AnyPythonWheel(bdist_wheel):
    """A wheel for one platform and every Python 3."""

    def get_tag(self) -> tuple[str, str, str]:
        return ("py3", "none", super().get_tag()[2])


kernels = Extension(
    "bams3._kernels",
    sources=sorted(glob("bams3/native/*.c")),
    depends=[*sorted(glob("bams3/native/*.h")), "setup.py"],
    extra_compile_args=FLAGS + EXTRA,
    extra_link_args=EXTRA,
    libraries=["m"],
)

setup(ext_modules=[kernels], cmdclass={"build_ext": BuildLibrary, "bdist_wheel": AnyPythonWheel})
