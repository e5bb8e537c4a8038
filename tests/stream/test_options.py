"""The options of a stream: one list, under the names that `dsc.stream` gives them."""

import inspect
import pickle
from dataclasses import FrozenInstanceError, fields

import pytest
import torch

import dsc
from dsc._stream.options import StreamOptions
from dsc.errors import UsageError


def test_every_keyword_of_a_stream_is_an_option_with_the_same_default() -> None:
    keywords = dict(inspect.signature(dsc.stream).parameters)
    del keywords["url"]
    options = {field.name: field.default for field in fields(StreamOptions)}
    assert options == {name: keyword.default for name, keyword in keywords.items()}


def test_every_keyword_of_a_stream_is_documented() -> None:
    documented = inspect.getdoc(dsc.stream) or ""
    before_returns = documented.partition("Returns\n")[0].splitlines()
    headings = {name for line in before_returns for name in line.split(", ")}
    assert headings >= {field.name for field in fields(StreamOptions)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"decode": "jpeg"}, "decode='jpeg': one of pixels, latents, bytes"),
        ({"missing": "drop"}, "missing='drop': one of error, skip, none"),
        ({"on_error": "raise"}, "on_error='raise': one of fail, skip"),
        ({"mixed_sizes": "crop"}, "mixed_sizes='crop': one of error, list, pad"),
        ({"mixed_sizes": "pad", "decode": "bytes"}, "mixed_sizes='pad' goes with decode='pixels'"),
        ({"batch_size": 0}, "batch_size=0: at least 1"),
        ({"batch_size": None}, "batch_size=None: a whole number"),
        ({"threads": "2"}, "threads='2': a whole number"),
        ({"workers": 1.5}, "workers=1.5: a whole number"),
        ({"workers": -1}, "workers=-1: 0 "),
        ({"prefetch": "much"}, "prefetch='much'"),
        ({"memory": -1}, "memory=-1"),
        ({"cache_limit": "1 box"}, "cache_limit='1 box'"),
        ({"decode": "bytes", "native": True}, "native=True goes with decode='pixels', not 'bytes'"),
        ({"decode": "bytes", "transform": dict}, "decode='bytes' takes no transform"),
        ({"decode": "bytes", "device": "cpu"}, "nothing to put on device='cpu'"),
        ({"shuffle": True, "window": 0}, "shuffle_window=0, lanes=None: at least 1"),
        ({"lanes": 2}, "lanes=2 without shuffle=True"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_name_and_value(
    given: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        StreamOptions(**given)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_options_are_values_that_travel_to_workers() -> None:
    options = StreamOptions(device=torch.device("cpu"), prefetch="1kB")  # type: ignore[arg-type]
    assert pickle.loads(pickle.dumps(options)) == options
    assert (options.device, options.prefetch_bytes) == ("cpu", 1000)
    with pytest.raises(FrozenInstanceError):
        options.workers = 2  # type: ignore[misc]
