"""A quality means the same whatever is installed beside dsc: within 2 % of bytes and error.

The figures are `tests/golden/encoders.json`. `.ci/run` compares with them in a plain environment
and in one with the extra `research`, whose NumPy and imagecodecs are older. Where a new version of
an encoder fails here, its own default has changed: say it explicitly where it is called, so that
archives of one quality stay alike.
"""

import json

import pytest

from tests.golden import make_encoders

TOLERANCE = 0.02
SMALLEST_ERROR = 0.02  # counts; below it, rounding decides
KNOWN = json.loads(make_encoders.PATH.read_text())


@pytest.mark.parametrize("case", list(make_encoders.cases()), ids=make_encoders.name_of)
def test_a_quality_means_the_same(case: tuple[str, str, int]) -> None:
    known, found = KNOWN[make_encoders.name_of(case)], make_encoders.measure(*case)
    assert found["bytes"] == pytest.approx(known["bytes"], rel=TOLERANCE)
    assert found["rms"] == pytest.approx(known["rms"], rel=TOLERANCE, abs=SMALLEST_ERROR)


def test_every_figure_belongs_to_a_test() -> None:
    assert set(KNOWN) == {make_encoders.name_of(case) for case in make_encoders.cases()}
