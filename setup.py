"""Builds the compiled kernels of `dsc._kernels`; everything else is in pyproject.toml.

Without a compiler the package still builds: each kernel has a twin in Python. DSC_SANITIZE=1 builds
with the address and undefined-behaviour sanitizers; `tests/codecs/test_damaged_streams.py` says how
to run what they check.
"""

import os
from glob import glob

from setuptools import Extension, setup

CHECKED = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-O1"]
SANITIZE = CHECKED if os.environ.get("DSC_SANITIZE") else []

setup(
    ext_modules=[
        Extension(
            "dsc._kernels.compiled",
            sources=sorted(glob("dsc/_kernels/*.c")),
            depends=[*sorted(glob("dsc/_kernels/*.h")), "setup.py"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            extra_compile_args=[
                "-std=c11",
                "-O3",
                "-fno-math-errno",  # a square root is one instruction, in vectors too
                "-fvisibility=hidden",
                "-Wall",
                "-Wextra",
                *SANITIZE,
            ],
            extra_link_args=SANITIZE,
            py_limited_api=True,
            optional=True,  # without a compiler the twins are used
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
