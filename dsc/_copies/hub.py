"""A dataset repository of the Hugging Face Hub as a store: everything arrives in few commits.

Large files are uploaded ahead, in batches, and belong to nothing until they are committed; the Hub
knows them by their sha256, so what an interrupted push has uploaded is not sent again. The commit
that brings the manifest brings everything that it replaces, too, so nobody sees anything in
between. A commit names the one that it was made for, and is refused when somebody else was faster.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from dsc._copies.stores import Advance, Item, Store, Upload
from dsc._extras import need
from dsc._storage.files.place import redact
from dsc._storage.files.root import Root
from dsc._storage.format.names import MANIFEST
from dsc.errors import DscError, IncompleteError, PlanMismatchError, UsageError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")
KIND = "dataset"
MAIN = "main"
ADDRESS = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.*))?")
AHEAD_FILES, AHEAD_BYTES = 64, 1 << 30  # of one batch of uploads
COMMIT_FILES = 1000  # more take the Hub longer than it waits
ATTEMPTS = 5
WAIT_S, LONGEST_WAIT_S = 2.5, 300.0
REFUSED, CHANGED, BUSY = (401, 403), (409, 412), (408, 429)  # HTTP status codes
CLIENTS = ("httpx", "httpx2", "httpcore", "requests", "urllib3")


class Hub(Store):
    """A dataset repository, or a directory in one.

    Parameters
    ----------
    root
        ``hf://datasets/USER/NAME``, perhaps with ``@REVISION`` and a path.
    public
        Whether a repository that has to be made is public.

    Raises
    ------
    UsageError
        When the URL names no dataset repository.
    MissingPackageError
        When huggingface_hub is not installed.
    """

    may_have_others = True

    def __init__(self, root: Root, public: bool = False) -> None:
        super().__init__(root)
        need("huggingface_hub", root.url)
        match = ADDRESS.fullmatch(root.url)
        if match is None:
            raise UsageError(
                f"{root.url}: give a dataset repository of the Hub, hf://datasets/USER/NAME"
            )
        self.repository, self._public = match[1], public
        self._revision = unquote(match[2] or MAIN)
        self._folder = f"{match[3].strip('/')}/" if match[3] else ""
        self._head: str | None = None  # the commit that was looked at; None without a repository

    @cached_property
    def _api(self) -> "HfApi":
        from huggingface_hub import HfApi

        return HfApi(library_name="dsc")

    def _listed(self) -> dict[str, Mapping[str, Any]]:
        from huggingface_hub import RepoFile
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        where: dict[str, Any] = {"repo_type": KIND, "revision": self._revision}
        try:
            self._head = self._ask(lambda: self._api.repo_info(self.repository, **where)).sha
        except (RepositoryNotFoundError, RevisionNotFoundError):
            return {}
        tree = self._ask(
            lambda: list(self._api.list_repo_tree(self.repository, recursive=True, **where))
        )
        return {
            entry.path.removeprefix(self._folder): vars(entry)
            for entry in tree
            if isinstance(entry, RepoFile) and entry.path.startswith(self._folder)
        }

    def send(self, upload: Upload, advance: Advance) -> None:
        """Upload all that is new, then commit it, the manifest in the last commit."""
        items = upload.items()
        if not items and not upload.remove:
            return
        with _without_bars():
            self._make_repository()
            last = [*upload.replaced, *upload.cards]
            last += [] if upload.commit is None else [upload.commit]
            added = {id(item): add for item, add in self._upload_ahead(items, advance)}
            groups = [
                upload.data[at : at + COMMIT_FILES]
                for at in range(0, len(upload.data), COMMIT_FILES)
            ]
            if not groups or len(groups[-1]) + len(last) > COMMIT_FILES:
                groups.append(())
            for number, group in enumerate(groups, 1):
                is_last = number == len(groups)
                operations = [added[id(one)] for one in (*group, *(last if is_last else ()))]
                operations += self._deletions(upload, number == 1, is_last)
                self._commit(operations, f"{number} of {len(groups)}" * (len(groups) > 1))
            self._check(items)

    def _make_repository(self) -> None:
        if self._head is not None:
            return
        name: dict[str, Any] = {"repo_id": self.repository, "repo_type": KIND}
        self._ask(lambda: self._api.create_repo(**name, private=not self._public, exist_ok=True))
        if self._revision != MAIN:
            self._ask(lambda: self._api.create_branch(**name, branch=self._revision, exist_ok=True))
        made = self._ask(lambda: self._api.repo_info(**name, revision=self._revision))
        self._head = made.sha

    def _upload_ahead(self, items: Sequence[Item], advance: Advance) -> Iterator[tuple[Item, Any]]:
        """Upload large files batch by batch, and yield what adds each file to a commit."""
        from huggingface_hub import CommitOperationAdd

        for batch in _batches(items):
            for item in batch:
                item.check()
            added = [CommitOperationAdd(self._at(one.record.path), one.content) for one in batch]
            self._ask(
                lambda added=added: self._api.preupload_lfs_files(  # type: ignore[misc]
                    self.repository, added, repo_type=KIND, revision=self._revision
                )
            )
            advance(sum(item.record.bytes for item in batch))
            yield from zip(batch, added, strict=True)

    def _deletions(self, upload: Upload, is_first: bool, is_last: bool) -> list[Any]:
        from huggingface_hub import CommitOperationDelete

        gone = []
        if upload.is_other and is_first and not is_last and MANIFEST in self.found:
            gone.append(MANIFEST)  # else the last commit replaces it with all it names
        if is_last:
            gone += [path for path in upload.remove if path != MANIFEST]
        return [CommitOperationDelete(self._at(path), is_folder=False) for path in gone]

    def _commit(self, operations: Sequence[Any], part: str) -> None:
        if not operations:
            return
        message = f"Push an archive with dsc {part}".strip()
        made = self._ask(
            lambda: self._api.create_commit(
                self.repository,
                operations,
                commit_message=message,
                repo_type=KIND,
                revision=self._revision,
                parent_commit=self._head,
            )
        )
        self._head = made.oid

    def _check(self, items: Sequence[Item]) -> None:
        """Compare what the Hub tells of the files with what was sent."""
        found = self._listed()
        wrong = [item.record.path for item in items if not self._is_there(item, found)]
        if wrong:
            raise IncompleteError(
                f"{self.root.where(wrong[0])}: what arrived is not what was sent, of {len(wrong)} "
                "files; run the same command again"
            )

    def _at(self, path: str) -> str:
        return f"{self._folder}{path}"

    def _ask(self, call: Callable[[], T]) -> T:
        """Ask the Hub, again where it is busy; its errors say what to do and hold no token.

        Raises
        ------
        huggingface_hub.errors.RepositoryNotFoundError, RevisionNotFoundError
            As they come.
        PermissionError
            When the Hub refuses.
        PlanMismatchError
            When somebody else has committed meanwhile.
        OSError
            When it fails again and again.
        """
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        attempt = 0
        while True:
            try:
                return call()
            except (RepositoryNotFoundError, RevisionNotFoundError, DscError):
                raise
            except Exception as error:  # those of its client, and of what carries large files
                if not _is_of_network(error):
                    raise
                attempt += 1
                problem = self._problem(error, attempt == ATTEMPTS)
                if problem is not None:
                    raise problem from None
                time.sleep(_wait_s(error, attempt))

    def _problem(self, error: Exception, is_last: bool) -> Exception | None:
        """Return the error to raise; None where the Hub is worth asking again."""
        status = _status(error)
        if status in REFUSED:
            return PermissionError(
                f"{self.root.url}: the Hub answers {status}; log in with `hf auth login`, or set "
                "HF_TOKEN to a token that may write there"
            )
        if status in CHANGED:
            return PlanMismatchError(
                f"{self.root.url} has changed while this push ran; it was left as it is. Run the "
                "same command again"
            )
        if is_last or (status is not None and status < 500 and status not in BUSY):
            said = f"the Hub answers {status}" if status else type(error).__name__
            return OSError(
                f"{self.root.url}: {said}: {redact(str(error))}; run the same command again: what "
                "was uploaded is not sent again"
            )
        return None


def _status(error: Exception) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _is_of_network(error: Exception) -> bool:
    # its client was requests and is httpx; hf_xet, which carries large files, knows RuntimeError
    client = type(error).__module__.partition(".")[0] in CLIENTS
    return client or _status(error) is not None or isinstance(error, OSError | RuntimeError)


def _wait_s(error: Exception, attempt: int) -> float:
    """Return how long to wait before asking again, in seconds: as the Hub says, or ever longer."""
    told = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
    wait_s = float(told) if told.isdigit() else WAIT_S * 2**attempt
    return min(wait_s, LONGEST_WAIT_S)


def _batches(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Cut a list into parts of a few files and bytes."""
    batch: list[Item] = []
    size = 0
    for item in items:
        if batch and (len(batch) == AHEAD_FILES or size + item.record.bytes > AHEAD_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item.record.bytes
    if batch:
        yield batch


@contextmanager
def _without_bars() -> Iterator[None]:
    """Keep the Hub's own progress bars off the terminal: there is one for the whole push."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
