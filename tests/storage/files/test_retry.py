"""What may pass is tried again, a bounded number of times; what cannot pass is said at once."""

import time

import pytest

from dsc._storage.files.retry import ATTEMPTS, call_again, repeat
from dsc.errors import UsageError


class Failing:
    """A call that fails some times and then answers; it can tell how often it was made."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def test_waits_grow_and_each_repetition_is_told(waits: list[float]) -> None:
    call, told = Failing(*[OSError("lost")] * 3), list[int]()
    assert repeat(call, "here", on_retry=lambda: told.append(call.calls)) == "answer"
    assert waits == pytest.approx([0.2, 0.6, 1.8])
    assert told == [1, 2, 3]


@pytest.mark.parametrize("attempts", [None, 1, 2])
def test_it_gives_up_and_says_what_was_asked(waits: list[float], attempts: int | None) -> None:
    call = Failing(*[OSError("lost")] * 9)
    with pytest.raises(OSError, match="here: OSError: lost; check the network"):
        repeat(call, "here", attempts)
    assert call.calls == (ATTEMPTS if attempts is None else attempts)


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError("f"), PermissionError("no"), UsageError("wrong"), KeyboardInterrupt()],
)
def test_what_cannot_pass_is_not_asked_again(waits: list[float], error: BaseException) -> None:
    call = Failing(error)
    with pytest.raises(type(error)):
        repeat(call, "here")
    assert (call.calls, waits) == (1, [])


def test_what_the_caller_knows_to_be_final_is_raised_as_it_is(waits: list[float]) -> None:
    last = ValueError("of no use")
    call = Failing(KeyError("may pass"), last)
    with pytest.raises(ValueError, match="of no use") as caught:
        call_again(call, lambda error: isinstance(error, KeyError))
    assert caught.value is last
    assert call.calls == 2
