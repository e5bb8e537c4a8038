"""A push to the Hugging Face Hub is few commits, the last of which brings the manifest."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dsc
from dsc._copies import hub as module
from dsc._copies.pull import pull
from dsc._copies.push import push
from dsc._storage.read.archive import Archive
from dsc._storage.read.verify import verify_archive
from dsc.errors import ArchiveNotFoundError, MissingPackageError, PlanMismatchError
from tests.archives import build_archive
from tests.copies.test_push import files_of, grown, other
from tests.hub_server import FIRST, HubState, hub

__all__ = ["grown"]
NAME = "me/views"
URL = f"hf://datasets/{NAME}"


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubState]:
    monkeypatch.setattr("dsc._storage.files.retry.BACKOFF_S", 0.001)
    monkeypatch.setattr(module, "WAIT_S", 0.001)
    with hub(monkeypatch) as state:
        yield state


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    build_archive(tmp_path / "a")
    return tmp_path / "a"


def held(state: HubState, name: str = NAME) -> dict[str, bytes]:
    files = state.repositories[name].files
    return {path: data for path, data in files.items() if path != FIRST}


def test_what_was_pushed_is_pulled_byte_for_byte(
    state: HubState, archive: Path, tmp_path: Path
) -> None:
    report = push(archive, URL)
    assert held(state) == files_of(archive)
    assert report.copied_bytes == sum(map(len, files_of(archive).values()))
    assert state.repositories[NAME].private
    assert state.requests["commit"] == 1
    assert verify_archive(URL) == []
    pull(URL, tmp_path / "b")
    assert files_of(tmp_path / "b") == files_of(archive)
    assert state.tokens == {"Bearer hf_secret_of_the_test"}


def test_the_card_comes_along_and_an_archive_is_read_from_the_hub(
    state: HubState, grown: tuple[Path, Path]
) -> None:
    push(grown[0], f"{URL}@main", public=True)
    assert not state.repositories[NAME].private
    assert b"configs:" in held(state)["README.md"]
    assert len(dsc.open(URL)) == 4
    assert dsc.open(URL)[3]["rgb"].shape == (32, 32, 3)
    batch = next(iter(dsc.stream(URL, tasks=["rgb"], batch_size=4)))
    assert batch["rgb"].shape == (4, 3, 32, 32)


def test_what_is_there_is_not_sent_again(state: HubState, archive: Path) -> None:
    push(archive, URL)
    state.requests.clear()
    state.uploaded.clear()
    assert push(archive, URL).copied_bytes == 0
    assert state.uploaded == []
    assert not state.requests.keys() & {"commit", "preupload", "create"}
    assert push(archive, URL, dry_run=True).copied_bytes == 0


def test_a_dry_run_makes_no_repository(state: HubState, archive: Path) -> None:
    report = push(archive, URL, dry_run=True)
    assert report.copied_bytes == sum(map(len, files_of(archive).values()))
    assert state.repositories == {}


def test_an_interrupted_push_sends_no_large_file_twice(
    state: HubState, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AHEAD_FILES", 3)
    state.failures = {"upload": [0, 0, 0, 0, *[400] * 40]}
    with pytest.raises(OSError, match="what was uploaded is not sent again"):
        push(archive, URL)
    assert 4 <= len(state.uploaded) < 10
    state.failures = {"commit": [503] * 5}
    with pytest.raises(OSError, match="what was uploaded is not sent again") as caught:
        push(archive, URL)
    assert "secret" not in str(caught.value)
    with pytest.raises(ArchiveNotFoundError):
        Archive.open(URL)
    push(archive, URL)
    assert len(set(state.uploaded)) == len(state.uploaded)
    assert held(state) == files_of(archive)


def test_a_busy_hub_is_asked_again(state: HubState, archive: Path) -> None:
    state.failures = {"commit": [429, 503], "batch": [429], "upload": [500]}
    push(archive, URL)
    assert held(state) == files_of(archive)
    assert len(state.repositories[NAME].commits) == 2  # the first is the repository's own


def test_many_files_are_several_commits_and_the_last_brings_the_manifest(
    state: HubState, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMMIT_FILES", 4)
    push(archive, URL)
    _, *commits = state.repositories[NAME].commits
    assert len(commits) > 3
    assert ["dsc.json" in paths for paths in commits] == [False] * (len(commits) - 1) + [True]
    assert held(state) == files_of(archive)


def test_a_grown_archive_sends_what_is_new_in_one_commit(
    state: HubState, grown: tuple[Path, Path]
) -> None:
    old, new = grown
    push(old, URL)
    reader = dsc.open(URL)
    assert push(new, URL).kept_bytes > 0
    changed = state.repositories[NAME].commits[-1]
    assert not set(changed) & {
        path for path in files_of(old) if path.endswith((".tar", ".jsonl", ".idx"))
    }
    assert reader[3]["rgb"].shape == (32, 32, 3)
    assert held(state) == files_of(new)


@pytest.mark.parametrize("at_once", [4, 1000])
def test_another_archive_is_replaced_on_request_only(
    state: HubState, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(module, "COMMIT_FILES", at_once)
    push(other(tmp_path), URL)
    count = len(state.repositories[NAME].commits)
    with pytest.raises(PlanMismatchError, match="another archive"):
        push(archive, URL)
    push(archive, URL, overwrite=True)
    assert held(state) == files_of(archive)
    commits = state.repositories[NAME].commits[count:]
    assert "dsc.json" in commits[0]
    assert "dsc.json" in commits[-1]


def test_a_commit_of_somebody_else_is_not_overwritten(state: HubState, archive: Path) -> None:
    push(archive, URL)
    repository = state.repositories[NAME]

    def meanwhile(done: int, total: int) -> None:
        if "LICENSE" not in repository.files:
            repository.files["LICENSE"] = b"CC0"
            repository.commits.append(["LICENSE"])

    del repository.files["README.md"]
    with pytest.raises(PlanMismatchError, match="has changed while"):
        push(archive, URL, progress=meanwhile)
    assert "README.md" not in repository.files
    report = push(archive, URL)
    assert report.copied_bytes == len(files_of(archive)["README.md"])
    assert repository.files["LICENSE"] == b"CC0"


def test_what_others_wrote_in_a_repository_stays(state: HubState, archive: Path) -> None:
    push(archive, "hf://datasets/me/first")
    state.repositories[NAME] = state.repositories.pop("me/first")
    repository = state.repositories[NAME]
    repository.files = {FIRST: b"", "LICENSE": b"CC0", "README.md": b"# By hand\n"}
    report = push(archive, URL)
    assert "LICENSE" in report.notes[-1]
    assert "README.md at the target was edited and is kept" in report.notes[0]
    assert repository.files["README.md"] == b"# By hand\n"
    assert repository.files["LICENSE"] == b"CC0"


def test_an_archive_lies_in_a_directory_of_a_repository(
    state: HubState, archive: Path, tmp_path: Path
) -> None:
    push(archive, f"{URL}/small")
    pull(f"{URL}/small", tmp_path / "b")
    assert files_of(tmp_path / "b") == files_of(archive)


def test_who_may_not_write_is_told_how_to_log_in(state: HubState, archive: Path) -> None:
    state.token = "another"
    with pytest.raises(PermissionError, match=r"hf auth login.*HF_TOKEN") as caught:
        push(archive, URL)
    assert "secret" not in str(caught.value)


def test_without_the_hubs_package_the_extra_is_named(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'dsc\[hf\]'"):
        push(archive, URL)
