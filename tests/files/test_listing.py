"""A tree is walked alike wherever it lies, and what is passed over is accounted for."""

import io
import os
import pickle
import socket
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
import pytest

import dsc
from dsc._bench.server import serve
from dsc._files.remote import links_of
from dsc._files.tree import FileTree
from dsc._schemas import LeftOut
from dsc._sources.hdf5.reading import OpenFiles
from dsc._storage.files.retry import ATTEMPTS
from dsc.errors import SampleError, SourceNotFoundError
from tests.archives import build_archive

FILES = {
    "top.png": b"top",
    "cat/0001.png": b"one",
    "cat/a b#1?%20.png": b"odd",
    "cat/\u00e9t\u00e9.png": b"summer",
    "dog/sub/0002.png": b"two" * 1000,
    "dog/sub/empty.png": b"",
}
JUNK = {
    ".DS_Store": 1, "cat/.DS_Store": 1, "cat/._0001.png": 1, "cat/._0002.png": 1, "cat/.hidden": 1,
    ".ipynb_checkpoints/0001-checkpoint.png": 1, "__MACOSX/cat/._0001.png": 1, "dog/Thumbs.db": 1,
    "dog/desktop.ini": 1, ".git/objects/ab/cd": 1, ".git/HEAD": 1,
    "out/.dsc-export.json": 1, "out/rgb/0001.png": 1, "half/.dsc/plan.json": 1,
}  # fmt: skip


def put(root: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def make_tar(path: Path, files: dict[str, bytes]) -> Path:
    mode: Any = "w" + {".gz": ":gz", ".bz2": ":bz2", ".xz": ":xz"}.get(path.suffix, "")
    with tarfile.open(path, mode) as file:
        for name, data in files.items():
            member = tarfile.TarInfo(f"./{name}")  # as `tar c .` names them
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


ALL = FILES | dict.fromkeys(JUNK, b"junk")
PLACES = [
    "directory", "file URL", "x.zip", "zip://", "chained zip", "in a zip", "x.tar", "x.tar.gz",
    "x.tar.xz", "http", "http x.zip", "http x.tar", "memory", "memory x.zip",
]  # fmt: skip


@pytest.fixture(params=PLACES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A root of each kind that holds `ALL`."""
    kind = request.param
    folder = tmp_path / "my views"
    folder.mkdir()
    if kind in ("directory", "file URL", "http"):
        put(folder, ALL)
    zipped = make_zip(folder / "x.zip", ALL) if "zip" in kind else folder
    if kind == "in a zip":
        make_zip(folder / "x.zip", {f"some/where/{name}": data for name, data in ALL.items()})
    if "x.tar" in kind:
        make_tar(folder / kind.removeprefix("http "), ALL)
    if kind.startswith("http"):
        with serve(folder) as (address, traffic):
            traffic.signature = "sig=abc"
            yield f"{address}/{kind.removeprefix('http').strip()}?sig=abc"
        return
    if kind.startswith("memory"):
        import fsspec

        memory, place = fsspec.filesystem("memory"), f"/listing/{tmp_path.name}"
        put(tmp_path / "all", ALL)
        memory.put(str(tmp_path / "all"), f"{place}/all", recursive=True)
        if "zip" in kind:
            memory.put_file(str(zipped), f"{place}/x.zip")
        yield f"memory:/{place}/{'x.zip' if 'zip' in kind else 'all'}"
        return
    yield {
        "directory": str(folder), "file URL": folder.as_uri(), "zip://": f"zip://{zipped}",
        "chained zip": f"zip://::{zipped}", "in a zip": f"zip://some/where::{zipped}",
    }.get(kind, str(folder / kind))  # fmt: skip


def listed(tree: FileTree, left_out: list[LeftOut] | None = None) -> list[str]:
    return sorted(
        f"{directory}/{name}" if directory else name
        for directory, names in tree.walk(left_out)
        for name in names
    )


def read_all(tree: FileTree) -> dict[str, bytes]:
    return {path: tree.read(path) for path in FILES}


def test_the_same_files_are_found_and_read_wherever_they_lie(url: str) -> None:
    tree = FileTree(url)
    left_out: list[LeftOut] = []
    assert listed(tree, left_out) == sorted(FILES) == listed(tree)
    assert read_all(tree) == FILES
    copy = pickle.loads(pickle.dumps(tree))
    assert read_all(copy) == FILES
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(copy.read, list(FILES) * 5)) == list(FILES.values()) * 5
    with tree.open("dog/sub/0002.png") as file:
        file.seek(-4, io.SEEK_END)
        assert (file.read(), file.seek(3), file.read(5)) == (b"otwo", 3, b"twotw")
    assert not tree.is_file()
    with pytest.raises(FileNotFoundError):
        tree.read("cat/none.png")
    for text in (tree.url, tree.where("cat/0001.png")):
        assert "sig=" not in text
    if not url.startswith("http://") or "x." in url:  # a web server's hidden files are not counted
        assert sum(line.files for line in left_out) == len(JUNK)
    assert {line.what for line in left_out} >= {
        "dog/Thumbs.db", "cat/._*", ".git/", "__MACOSX/", "out/", "half/"
    }  # fmt: skip
    assert not any(line.task for line in left_out)


def test_a_root_is_opened_again_by_its_url(url: str) -> None:
    if not url.startswith("http"):  # without its signature nobody gets in
        assert listed(FileTree(FileTree(url).url)) == sorted(FILES)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("name", ["x.zip", "x.tar"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_processes_read_one_zip_or_tar_without_disturbing_each_other(
    tmp_path: Path, method: str, name: str
) -> None:
    files = {f"{n}.bin": bytes([n]) * 20_000 for n in range(40)}
    tree = FileTree((make_zip if name == "x.zip" else make_tar)(tmp_path / name, files))
    assert tree.read("3.bin") == files["3.bin"]  # it is open when the others begin
    with ProcessPoolExecutor(3, mp_context=get_context(method)) as pool:
        found = pool.map(tree.read, list(files) * 3, chunksize=5)
        assert [tree.read(path) for path in files] == list(files.values())
        assert list(found) == list(files.values()) * 3


def test_what_lies_beside_files_is_accounted_for(tmp_path: Path) -> None:
    root = put(tmp_path / "root", {"a/1.png": b"1", "b/2.png": b"2", "a/b/3.png": b"3"})
    (root / "a" / "gone.png").symlink_to("nowhere.png")
    (root / "self").symlink_to("self")
    (root / "a" / "b" / "up").symlink_to(root / "a")
    put(tmp_path / "far", {"4.png": b"4"})
    (root / "c").symlink_to(tmp_path / "far")
    (root / "d").symlink_to(tmp_path / "far")
    (root / ".e").symlink_to(tmp_path / "far")
    os.mkfifo(root / "a" / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "b" / "socket"))
    build_archive(root / "archive")
    put(root, {"other/dsc.json": b"{}", "other/5.png": b"5"})  # not ours: it is data
    left_out: list[LeftOut] = []
    assert listed(FileTree(root), left_out) == [
        "a/1.png", "a/b/3.png", "b/2.png", "c/4.png", "other/5.png", "other/dsc.json",
    ]  # fmt: skip
    found = {line.what: line for line in left_out}
    assert sorted(found) == [
        ".e/", "a/b/up", "a/gone.png", "a/pipe", "archive/", "b/socket", "d", "self",
    ]  # fmt: skip
    assert found["archive/"].reason == "an archive of dsc"
    assert found["archive/"].files == sum(p.is_file() for p in (root / "archive").rglob("*"))
    assert "broken link" in found["a/gone.png"].reason
    assert found["a/gone.png"].task == "a"
    assert "lies in" in found["a/b/up"].reason
    assert "another link" in found["d"].reason
    assert "socket" in found["b/socket"].reason


def test_an_export_is_read_where_it_is_the_root(tmp_path: Path) -> None:
    root = put(tmp_path, {".dsc-export.json": b"{}", "rgb/1.png": b"1"})
    assert listed(FileTree(root)) == ["rgb/1.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every directory")
def test_a_closed_directory_is_accounted_for_or_an_error(tmp_path: Path) -> None:
    closed(tmp_path, lambda: (tmp_path / "depth").chmod(0))


def test_a_directory_that_cannot_be_listed_is_accounted_for_or_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def deny(path: object) -> object:
        if str(path).endswith("depth"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)  # type: ignore[call-overload]

    closed(tmp_path, lambda: monkeypatch.setattr(os, "scandir", deny))


def closed(root: Path, close: Callable[[], None]) -> None:
    put(root, {"rgb/1.png": b"1", "depth/1.png": b"1"})
    close()
    left_out: list[LeftOut] = []
    assert listed(FileTree(root), left_out) == ["rgb/1.png"]
    assert [(line.what, line.task) for line in left_out] == [("depth/", "depth")]
    assert "Permission denied" in left_out[0].reason
    with pytest.raises(PermissionError, match="depth"):
        listed(FileTree(root))


def test_many_of_a_kind_are_one_line(tmp_path: Path) -> None:
    put(tmp_path, {f"c{n}/{name}": b"" for n in range(30) for name in ("1.png", ".DS_Store")})
    put(tmp_path, {f"c1/._{n}.png": b"" for n in range(50)})
    left_out: list[LeftOut] = []
    assert len(listed(FileTree(tmp_path), left_out)) == 30
    assert [(line.what, line.files) for line in left_out] == [("**/.DS_Store", 30), ("c1/._*", 50)]


def test_names_that_are_not_utf8_are_walked_read_and_spelt(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"r\xe9")
    name = os.fsdecode(b"caf\xe9")
    put(root, {f"{name}/1.png": b"1", f"{name}/._\udce9": b"", "a\nb/2.png": b"2"})
    tree, left_out = FileTree(root), list[LeftOut]()
    assert listed(tree, left_out) == sorted([f"{name}/1.png", "a\nb/2.png"])
    assert tree.read(f"{name}/1.png") == b"1"
    assert left_out[0].what == "caf\\xe9/._\\xe9"
    assert tree.where(f"{name}/1.png").isprintable()
    left_out[0].to_json().encode()
    assert listed(FileTree(tree.url)) == listed(tree)  # in a plan, say
    with serve(root) as (url, _):
        far = FileTree(url)
        assert listed(far) == listed(tree)
        assert far.read(f"{name}/1.png") == b"1"


def test_a_request_that_fails_is_made_again_and_a_refusal_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One cut answer must not end a compression of hours."""
    monkeypatch.setattr("dsc._storage.files.retry.BACKOFF_S", 0.001)
    put(tmp_path, FILES)
    with serve(tmp_path) as (url, traffic):
        tree = FileTree(url)
        traffic.fail_next, traffic.fail_with = 2, 503
        assert listed(tree) == sorted(FILES)
        traffic.cut_next, traffic.fail_next = 1, 1
        assert tree.read("dog/sub/0002.png") == FILES["dog/sub/0002.png"]
        with tree.open("dog/sub/0002.png") as file:
            traffic.cut_next, traffic.drop_next = 1, 1
            assert file.read() == FILES["dog/sub/0002.png"]
        traffic.requests.clear()
        with pytest.raises(FileNotFoundError, match="none"):
            tree.read("none")
        traffic.fail_next, traffic.fail_with = 1, 403
        with pytest.raises(PermissionError, match=r"top.png.*403"):
            tree.read("top.png")
        assert traffic.requests == {"none": 1, "top.png": 1}
        traffic.fail_next, traffic.fail_with = 99, 500
        with pytest.raises(OSError, match=r"top.png.*check the network"):
            tree.read("top.png")
        assert traffic.requests["top.png"] == 1 + ATTEMPTS


@pytest.mark.parametrize("packed", [False, True])
def test_a_compression_outlives_cut_answers_and_keeps_no_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr("dsc._storage.files.retry.BACKOFF_S", 0.001)
    pictures = {
        f"rgb/view #{n}.png": imagecodecs.png_encode(np.full((9, 9, 3), n, np.uint8))
        for n in range(4)
    }
    (tmp_path / "source").mkdir()
    if packed:
        make_zip(tmp_path / "source" / "x.zip", pictures)
    else:
        put(tmp_path / "source", pictures)
    with serve(tmp_path / "source") as (url, traffic):
        traffic.signature = "sig=secret"
        for kind in ("fail_next", "cut_next", "drop_next"):
            setattr(traffic, kind, 1)
        traffic.fail_with, out = 503, tmp_path / "archive"
        root = f"{url}/{'x.zip' if packed else ''}?sig=secret"
        dsc.compress("folder", out, root=root, codec="png", layout="directories")
        assert (traffic.fail_next, traffic.cut_next, traffic.drop_next) == (0, 0, 0)
    assert [int(view["rgb"].max()) for view in dsc.open(out, native=True)] == [0, 1, 2, 3]
    files = [path for path in out.rglob("*") if path.is_file()]
    assert not any(b"secret" in path.read_bytes() for path in files)


def test_a_server_that_knows_no_ranges_serves_files_that_are_read_in_parts(tmp_path: Path) -> None:
    put(tmp_path, {"a.bin": bytes(range(256)) * 99})
    with serve(tmp_path) as (url, traffic):
        traffic.ranges = False
        with FileTree(url).open("a.bin") as file:
            file.seek(1000)
            assert file.read(20) == bytes(range(256))[1000 % 256 :][:20]


def test_a_file_behind_a_signed_url_is_told_from_a_directory(tmp_path: Path) -> None:
    put(tmp_path, {"my views/a b.h5": b"h5"})
    with serve(tmp_path) as (url, traffic):
        traffic.signature = "sig=abc"
        tree = FileTree(f"{url}/my%20views/a%20b.h5?sig=abc")
        assert tree.is_file()
        assert (tree.read(""), tree.open("").read()) == (b"h5", b"h5")
        above, name = tree.parent()
        assert (name, above.read(name), above.is_file()) == ("a b.h5", b"h5", False)
        assert not FileTree(f"{url}/none?sig=abc").is_file()


def test_links_that_lead_elsewhere_are_no_names() -> None:
    page = """<a href="http://other/x.png"><a href="/a%20b/in.png"><a href="../up.png">
        <a href="deep/er.png"><a href="javascript:f()"><a href="ok.png?sig=1#top"><a>
        <a href="%2e%2e%2fx.png"><a href='sub/'><a href="sub"><a href="//evil/x.png">"""
    assert links_of("http://host/a%20b", page) == (["in.png", "ok.png"], ["sub"])


def test_a_server_that_answers_any_path_with_a_page_is_said(tmp_path: Path) -> None:
    with serve(tmp_path) as (url, traffic):
        traffic.any_page = b'<a href="on/">on</a>'
        with pytest.raises(OSError, match="any path with a page of links"):
            listed(FileTree(url))


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz"])
def test_a_network_that_fails_is_no_damaged_zip_or_tar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("dsc._storage.files.retry.BACKOFF_S", 0.001)
    (make_zip if name == "x.zip" else make_tar)(tmp_path / name, {"a.png": b"1"})
    with serve(tmp_path) as (url, traffic):
        assert listed(FileTree(f"{url}/none{name}")) == []
        traffic.cut_next = 10**6
        with pytest.raises(OSError, match="check the network"):
            listed(FileTree(f"{url}/{name}"))


def test_a_network_that_fails_is_no_damaged_hdf5_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sample that is damaged may be skipped, one that nobody could ask for must not be."""
    monkeypatch.setattr("dsc._storage.files.retry.BACKOFF_S", 0.001)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["rgb"] = np.arange(60 * 90 * 90 * 3).astype(np.uint8).reshape(60, 90, 90, 3)
    with serve(tmp_path) as (url, traffic):
        files = OpenFiles(FileTree(url))
        assert files.row("x.h5", "rgb", 0, "sample a").shape == (90, 90, 3)
        traffic.dead = True
        for again in (files, OpenFiles(FileTree(url))):
            with pytest.raises(OSError, match="check the network"):
                again.row("x.h5", "rgb", 59, "sample b")


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tar.bz2", "x.tar.xz"])
def test_a_cut_zip_or_tar_is_an_error_and_not_a_short_list(tmp_path: Path, name: str) -> None:
    files = {f"{n}.bin": os.urandom(1000) for n in range(9)}
    path = tmp_path / name
    whole = (make_zip if name == "x.zip" else make_tar)(path, files).read_bytes()
    for cut in (
        whole[: len(whole) // 2], whole[: 512 * 3 if name == "x.tar" else 30], b"",
        whole[:9] + bytes(len(whole)),
    ):  # fmt: skip
        path.write_bytes(cut)
        with pytest.raises(SampleError, match=rf"{name}: not a whole"):
            listed(FileTree(path))


def test_a_damaged_file_in_a_zip_is_named(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "x.zip", {"a.png": b"abcdefgh" * 100})
    data = bytearray(path.read_bytes())
    data[40] ^= 255
    path.write_bytes(data)
    with pytest.raises(SampleError, match=r"x.zip/a.png: cannot be read"):
        FileTree(path).read("a.png")


def test_names_in_a_zip_are_read_as_they_were_meant(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        for name in ("cat\\1.png", "UTF8.png", "ok/../../2.png", "dup.png"):
            info = zipfile.ZipInfo()
            info.filename = name
            file.writestr(info, name.encode())
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("dup.png", b"another")
    data = (tmp_path / "x.zip").read_bytes()
    # UTF-8 without the flag that says so, as Info-ZIP writes it
    (tmp_path / "x.zip").write_bytes(data.replace(b"UTF8.png", "\u00e9\u00e9.png".encode()))
    tree, left_out = FileTree(tmp_path / "x.zip"), list[LeftOut]()
    assert listed(tree, left_out) == ["cat/1.png", "dup.png", "\u00e9\u00e9.png"]
    assert tree.read("cat/1.png") == b"cat\\1.png"
    assert [(line.what, line.task) for line in left_out] == [
        ("dup.png", "dup_png"), ("ok/../../2.png", ""),
    ]  # fmt: skip


def test_links_in_a_tar_are_followed_and_names_that_lead_out_are_not(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as file:
        for name, kind, target in [
            ("a/1.png", tarfile.REGTYPE, ""), ("a/2.png", tarfile.SYMTYPE, "1.png"),
            ("b/3.png", tarfile.LNKTYPE, "a/2.png"), ("b/4.png", tarfile.SYMTYPE, "nowhere"),
            ("../5.png", tarfile.REGTYPE, ""), ("b/pipe", tarfile.FIFOTYPE, ""),
        ]:  # fmt: skip
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, target, 3 * (kind == tarfile.REGTYPE)
            file.addfile(member, io.BytesIO(b"123"))
    tree, left_out = FileTree(path), list[LeftOut]()
    assert listed(tree, left_out) == ["a/1.png", "a/2.png", "b/3.png"]
    assert tree.read("b/3.png") == b"123"
    assert [line.what for line in left_out] == ["../5.png", "b/4.png", "b/pipe"]


def test_a_root_that_is_not_there_is_said(tmp_path: Path) -> None:
    for root in (tmp_path / "none", f"zip://{tmp_path}/none.zip", tmp_path / "none.zip"):
        with pytest.raises(SourceNotFoundError, match=r"none.* does not exist"):
            FileTree(root).require_root("folder", str(root))
    with pytest.raises(SourceNotFoundError) as caught:
        raise_nothing("http://host/a?sig=abc")
    assert "sig" not in str(caught.value)


def raise_nothing(root: str) -> None:
    from dsc._files.tree import nothing_found

    raise nothing_found("folder", f"no image under {root}", ())
