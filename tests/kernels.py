"""Chooses compiled kernels or their twins in Python, for a test."""

import pytest

from dsc import _kernels


def use_kernels(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the kernels that are ``compiled``, or the ``twin``; skip what is not there."""
    if which == "compiled" and not _kernels.built:
        pytest.skip("the compiled kernels were not built here")
    monkeypatch.setattr(_kernels, "_wanted", which == "compiled")
