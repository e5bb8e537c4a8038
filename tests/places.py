"""Where the repository lies, and the real data that some tests look for."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("DSC_TEST_DATA", ROOT.parent / "shared" / "data"))
CASES = Path(os.environ.get("DSC_TEST_CASES", ROOT.parent / "shared" / "cases"))
