import pytest

from tests.replay.kinds import KINDS, Kind


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of exemplars in turn."""
    found: Kind = request.param
    return found
