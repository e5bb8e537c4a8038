"""Rules give the same integers where NumPy takes no instructions beyond its baseline."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def dispatched() -> list[str]:
    """List the instruction sets that NumPy takes on this machine and can do without."""
    try:
        from numpy._core import _multiarray_umath as umath
    except ImportError:  # NumPy 1
        from numpy.core import _multiarray_umath as umath  # type: ignore[no-redef]
    return [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__.get(name)]


def test_rules_give_the_same_integers_at_numpys_baseline() -> None:
    features = dispatched()
    if not features:
        pytest.skip("NumPy has nothing but its baseline here")
    code = (
        "import sys, pytest; "
        "sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '-k', 'pinned or stay_as', "
        f"{str(HERE)!r}]))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(features)},
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "passed" in ran.stdout
