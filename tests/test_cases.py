"""Small inputs that once came out wrong, each with a script that fails while the fault is there.

They lie in the directory that ``DSC_TEST_CASES`` names, by default beside the real data; each kind
of fault has tests of its own in the suite, which need no such directory.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import CASES

SCRIPTS = sorted(CASES.glob("*/run.sh"))
DSC = Path(sys.executable).with_name("dsc")


@pytest.mark.data
@pytest.mark.skipif(not SCRIPTS, reason=f"no cases under {CASES}")
@pytest.mark.skipif(not DSC.exists(), reason="dsc is not installed beside this Python")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.parent.name)
def test_the_fault_is_gone(script: Path) -> None:
    tools = {"DSC": str(DSC), "PY": sys.executable}
    env = {**os.environ, **tools}
    done = subprocess.run(["sh", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
