"""What the server of `dsc serve` answers, over plain HTTP; and what it refuses."""

import http.client
import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import imagecodecs
import numpy as np
import pytest

from dsc._bench.server import serve
from dsc._browse import groups, server
from dsc._browse.content import Content
from dsc._browse.server import PAGE, BrowseServer, is_own, open_server, own_names
from dsc._jobs.archive.compress import compress
from dsc._pipeline.read.dataset import Dataset
from dsc._storage.read.archive import Archive
from dsc.errors import UsageError
from tests.browse.archives import HOSTILE, Squares, values
from tests.walks_of_files import write_walk

N = 40


class Answered:
    """One answer: status, headers and body."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.body = response.status, response.read()
        self.headers = {name.lower(): value for name, value in response.getheaders()}

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks one server."""

    def __init__(self, served: BrowseServer) -> None:
        self.server, self.version = served, served.content.version

    def get(self, path: str, host: str = "localhost", method: str = "GET") -> Answered:
        port = self.server.server_address[1]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True)
            connection.putheader("Host", host)
            connection.endheaders()
            return Answered(connection.getresponse())
        finally:
            connection.close()

    def json(self, path: str, status: int = 200) -> Any:
        found = self.get(path)
        assert found.status == status, found.body
        return found.json()

    def picture(
        self, index: int, task: str, what: str = "decoded", size: str = "thumb"
    ) -> Answered:
        return self.get(f"/picture/{self.version}/{index}/{task}/{what}/{size}")


@contextmanager
def serving(archive: Path | str, root: str | None = None) -> Iterator[Client]:
    with open_server(Content(Archive.open(str(archive)), root), "127.0.0.1", 0, True) as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Client(served)
        finally:
            served.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("browse") / "squares"
    codec = "rgb=webp,depth=av1,colour=plain,caption=plain,meta=plain,sound=plain,page=plain"
    compress(Squares(N), out, codec=codec, pack=8, shard_size=16)
    return out


@pytest.fixture(scope="module")
def client(archive: Path) -> Iterator[Client]:
    with serving(archive) as asked:
        yield asked


def test_the_page_and_its_parts_are_served(client: Client) -> None:
    assert client.get("/").body == client.get("/index.html").body
    for name, media_type in PAGE.items():
        found = client.get(f"/{name}")
        assert found.status == 200
        assert found.headers["content-type"] == media_type
        assert int(found.headers["content-length"]) == len(found.body) > 100
    head = client.get("/", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 1000


def test_the_page_asks_no_other_server_and_has_no_inline_script() -> None:
    for name in PAGE:
        text = server.page_file(name).decode()
        for address in ("https://", "//cdn", "@import", "innerHTML", "outerHTML", "insertAdjacent"):
            assert address not in text, name
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    page = server.page_file("index.html").decode()
    assert "style=" not in page
    assert page.count("<script") == page.count('<script type="module" src="/main.js"></script>')


def test_the_archive_is_described(client: Client) -> None:
    found = client.json("/api/archive")
    assert found["samples"] == N
    assert [one["name"] for one in found["splits"]] == ["train", "val"]
    tasks = {task["name"]: task for task in found["tasks"]}
    assert tasks["rgb"]["undecoded"]
    assert not tasks["depth"]["undecoded"]
    assert not tasks["caption"]["is_map"]
    assert tasks["colour"]["classes"] == 4
    assert found["aspect"] == 1.5
    assert set(found["groupings"]) == {"folder", "colour", "caption", "meta"}
    assert found["bytes"]["samples"] == N


def test_samples_are_listed_with_short_values(client: Client) -> None:
    found = client.json("/api/samples?start=0&count=3&values=caption,colour")
    assert found["total"] == N
    keys = [item["key"] for item in found["items"]]
    assert keys == ["square_00000", "square_00001", "square_00002"]
    assert found["items"][1]["values"] == {"caption": f"{HOSTILE} number 1", "colour": "green"}
    assert client.json("/api/samples?start=38&count=10")["items"][-1]["index"] == 39
    assert client.json("/api/samples?start=100&count=10")["items"] == []


def test_a_split_and_a_group_select_samples(client: Client) -> None:
    val = client.json("/api/samples?split=val&start=0&count=50")
    assert [item["index"] for item in val["items"]] == list(range(30, 40))
    groups_of = grouped(client, "colour")
    assert [one["label"] for one in groups_of] == ["red", "green", "blue", "yellow"]
    assert [one["count"] for one in groups_of] == [10] * 4
    blue = client.json("/api/samples?by=colour&group=2&start=0&count=50")
    assert [item["index"] for item in blue["items"]] == list(range(2, N, 4))
    both = client.json("/api/samples?split=val&by=colour&group=2&start=0&count=50")
    assert [item["index"] for item in both["items"]] == [30, 34, 38]
    folders = grouped(client, "folder")
    assert [one["label"] for one in folders] == ["scene_0", "scene_1", "scene_2"]
    assert len(grouped(client, "caption")) == N


def test_recordings_are_groups_and_each_frame_says_its_place(tmp_path: Path) -> None:
    write_walk(tmp_path / "in", "seq-10", range(2))
    write_walk(tmp_path / "in", "seq-02", range(3))
    compress(
        "folder", tmp_path / "out", root=tmp_path / "in", tasks="rgb", codec="png", shard_size=2
    )
    with serving(tmp_path / "out") as client:
        assert client.json("/api/archive")["groupings"] == ["folder", "recording"]
        found = [(one["label"], one["count"]) for one in grouped(client, "recording")]
        assert found == [("seq-02", 3), ("seq-10", 2)]
        chosen = client.json("/api/samples?by=recording&group=1&start=0&count=9")["items"]
        assert [item["index"] for item in chosen] == [3, 4]
        place = client.json("/api/sample/4")["place"]
        assert place == {"sequence": "seq-10", "frame": 1, "time_ns": None}


def test_a_condition_selects_samples(client: Client) -> None:
    for where, indices in (
        ("colour == 'blue' and index < 9", [2, 6]),
        ("split == 'val' and depth is None", [32, 37]),
        ("'number' in caption", [1]),
        ("index > 99", []),
    ):
        found = client.json(f"/api/samples?start=0&count=50&where={quote(where)}")
        assert [item["index"] for item in found["items"]] == indices
        assert found["total"] == len(indices)
    grouped(client, "colour")
    both = client.json(
        f"/api/samples?start=0&count=50&split=val&by=colour&group=1&where={quote('index < 37')}"
    )
    assert [item["index"] for item in both["items"]] == [33]
    for wrong in ("colour ==", "nothing == 1", "__import__('os')", "x" * 3000, "rgb == 3"):
        told = client.json(f"/api/samples?where={quote(wrong)}", status=400)
        assert told["error"]


def grouped(client: Client, by: str) -> list[dict[str, Any]]:
    while True:
        found = client.json(f"/api/groups?by={by}")
        if "groups" in found:
            listed: list[dict[str, Any]] = found["groups"]
            return listed


def test_too_many_groups_are_none(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MOST_GROUPS", 5)
    with serving(archive) as client:
        while "error" not in (found := client.json("/api/groups?by=caption")):
            pass
        assert "more than 5 different values" in found["error"]
        client.json("/api/samples?by=caption&group=0&start=0&count=1", status=400)


def test_a_sample_is_found_by_key_part_or_number(client: Client) -> None:
    for text, index in (("square_00007", 7), ("%237", 7), ("7", 7), ("e_0003", 30)):
        assert client.json(f"/api/find?q={text}")["index"] == index
    assert client.json("/api/find?q=square_00031&split=val")["position"] == 1
    assert client.json("/api/find?q=square_00007&split=val")["position"] is None
    for text in ("nothing", "", "99999", "-1", "1" * 60):
        assert client.json(f"/api/find?q={text}")["index"] is None


def test_a_sample_is_told_task_by_task(client: Client) -> None:
    found = client.json("/api/sample/2")
    assert found["name"] == "scene_2/square 00002"
    tasks = {task["name"]: task for task in found["tasks"]}
    assert (tasks["rgb"]["height"], tasks["rgb"]["width"]) == (16, 24)
    assert tasks["depth"]["missing"]
    assert tasks["caption"]["text"] == "Square 2 — ü\0"
    assert json.loads(tasks["meta"]["text"])["id"] == 2**70 + 2
    assert tasks["sound"]["played"] == "audio/wav"
    assert tasks["page"]["played"] is None
    assert " m" in client.json("/api/sample/0")["tasks"][1]["caption"]


def test_what_a_browser_decodes_is_sent_as_it_lies_in_the_archive(client: Client) -> None:
    found = client.picture(3, "rgb")
    assert (found.status, found.headers["content-type"]) == (200, "image/webp")
    decoded = Dataset(client.server.content.archive, ["rgb"])[3]["rgb"]
    assert decoded is not None
    np.testing.assert_array_equal(imagecodecs.webp_decode(found.body), decoded)
    (payload,) = Dataset(client.server.content.archive, ["rgb"]).payloads([3])[0].values()
    assert payload is not None
    assert bytes(payload).endswith(found.body)
    assert "immutable" in found.headers["cache-control"]


def test_a_browser_that_cannot_decode_gets_what_was_decoded(client: Client) -> None:
    found = client.get(f"/picture/{client.version}/3/rgb/decoded/whole/drawn")
    assert found.headers["content-type"] == "image/png"
    decoded = Dataset(client.server.content.archive, ["rgb"])[3]["rgb"]
    assert decoded is not None
    np.testing.assert_array_equal(imagecodecs.png_decode(found.body), decoded)


def test_what_it_does_not_is_drawn(client: Client) -> None:
    thumb, whole = client.picture(3, "depth"), client.picture(3, "depth", size="whole")
    assert thumb.headers["content-type"] == "image/webp"
    assert whole.headers["content-type"] == "image/png"
    assert imagecodecs.png_decode(whole.body).shape == (16, 24, 3)
    assert client.json("/api/pixel/3/depth?x=5&y=0")["text"].endswith(" m")
    assert client.json("/api/pixel/3/depth?x=0&y=0")["text"] == "nothing measured"


def test_files_are_downloads_unless_they_can_hold_no_script(client: Client) -> None:
    sound = client.get(f"/file/{client.version}/5/sound")
    assert (sound.body, sound.headers["content-type"]) == (values(5)["sound"], "audio/wav")
    page = client.get(f"/file/{client.version}/5/page")
    assert page.headers["content-type"] == "application/octet-stream"
    assert page.headers["content-disposition"] == 'attachment; filename="square_00005.page"'
    text = client.get(f"/file/{client.version}/5/caption")
    assert text.body.decode() == values(5)["caption"]


def test_sizes_of_every_stream(client: Client) -> None:
    found = client.json("/api/sizes/rgb")
    assert found["samples"] == found["total"] == N
    assert sum(found["counts"]) == N
    assert found["least"] <= found["median"] <= found["most"]
    assert client.json("/api/sizes/depth")["missing"] == N // 5


def test_every_answer_forbids_what_a_page_must_not_do(client: Client) -> None:
    for path in ("/", "/api/archive", "/nothing", f"/picture/{client.version}/0/rgb/decoded/thumb"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/dsc.json", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/api",
        "/page/index.html", "/api/sample/-1", "/api/sample/x", "/index.html/", "/\0",
        "/picture/0000000000000000/0/rgb/decoded/thumb", "/file/0000000000000000/0/caption",
    ],
)  # fmt: skip
def test_nothing_but_the_archive_is_served(client: Client, path: str) -> None:
    assert client.get(path.replace("\0", "%00")).status == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/sample/40", 404), ("/api/sample/999999999999999", 404),
        ("/api/samples?start=0&count=100000", 400), ("/api/samples?start=x", 400),
        ("/api/samples?split=nowhere", 400), ("/api/samples?count=1&values=nothing", 400),
        ("/api/samples?count=1&values=rgb", 400), ("/api/samples?by=colour&group=9", 400),
        ("/api/samples?by=nothing&group=0", 400), ("/api/groups?by=sound", 400),
        ("/api/groups", 400), ("/api/sizes/nothing", 400), ("/api/pixel/0/rgb?x=99&y=0", 400),
        ("/api/pixel/0/rgb?x=1", 400), ("/api/pixel/0/rgb?x=1&y=1&what=else", 400),
        ("/api/pixel/0/caption?x=0&y=0", 400), ("/api/find?" + "q=1&" * 40, 400),
        ("/picture/V/0/nothing/decoded/thumb", 400), ("/picture/V/0/caption/decoded/thumb", 400),
        ("/picture/V/2/depth/decoded/thumb", 404), ("/picture/V/0/rgb/original/thumb", 404),
        ("/picture/V/0/rgb/else/thumb", 404), ("/picture/V/40/rgb/decoded/thumb", 404),
        ("/file/V/0/rgb", 400), ("/file/V/40/caption", 404),
    ],
)  # fmt: skip
def test_bad_requests_are_told_what_is_wrong(client: Client, path: str, status: int) -> None:
    grouped(client, "colour")
    found = client.get(path.replace("/V/", f"/{client.version}/"))
    assert found.status == status, found.body
    assert found.json()["error"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nothing_can_be_changed(client: Client, method: str) -> None:
    assert client.get("/api/archive", method=method).status == 501


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True), ("LOCALHOST:8377", True), ("127.0.0.1:1", True), ("[::1]:8377", True),
        ("192.168.1.7:8377", True), ("localhost.", True), ("evil.example", False),
        ("localhost.evil.example", False), ("127.0.0.1.evil.example:8377", False), ("", False),
        ("[evil]", False), ("localhost@evil.example", False), ("a b", False),
    ],
)  # fmt: skip
def test_only_names_of_this_machine_are_answered(client: Client, host: str, allowed: bool) -> None:
    assert is_own(host, own_names("127.0.0.1")) is allowed
    found = client.get("/api/archive", host=host)
    assert found.status == (200 if allowed else 421)
    assert allowed or b"square" not in found.body


def test_originals_are_set_beside_where_they_are_at_hand(tmp_path: Path) -> None:
    codec = "rgb=jpeg,depth=png,normal=webp,segment_semantic=png"
    compress("taskonomy", tmp_path / "a", sample=3, size=48, codec=codec, quality="20")
    with serving(tmp_path / "a") as client:
        assert client.json("/api/originals")["state"] == "looking"
        found = client.json("/api/compare/1")
        assert client.json("/api/originals")["state"] == "there"
        assert "PSNR" in found["tasks"]["rgb"]["metrics"][0]
        assert "range" in found["tasks"]["rgb"]["caption"]
        assert found["tasks"]["segment_semantic"]["same"]
        for what in ("original", "error"):
            picture = client.picture(1, "rgb", what, "whole")
            assert imagecodecs.png_decode(picture.body).shape == (48, 48, 3)
            assert picture.headers["cache-control"] == "no-cache"
        assert client.json("/api/pixel/1/normal?x=3&y=4&what=error")["text"].endswith("°")
        assert client.json("/api/pixel/1/segment_semantic?x=3&y=4&what=error")["text"] == "same"


def test_without_originals_there_is_nothing_to_compare(client: Client) -> None:
    found = client.json("/api/compare/0")
    assert found["tasks"] == {}
    assert found["originals"]["state"] == "none"


def test_damage_costs_what_it_hits_and_no_more(archive: Path, tmp_path: Path) -> None:
    shutil.copytree(archive, tmp_path / "a")
    tar = next((tmp_path / "a" / "depth").glob("train-depth-000000.tar"))
    data = bytearray(tar.read_bytes())
    data[512 + 32 + 8 * 8 + 10] ^= 1  # of the first bitstream of the first pack
    tar.write_bytes(data)
    with serving(tmp_path / "a") as client:
        assert client.picture(0, "depth").status == 500
        assert client.picture(0, "rgb").status == 200
        assert client.picture(1, "depth").status == 200
        tasks = {task["name"]: task for task in client.json("/api/sample/0")["tasks"]}
        assert "crc" in tasks["depth"]["error"]
        assert tasks["caption"]["text"]


def test_a_remote_archive_is_browsed_by_what_is_asked_for(archive: Path) -> None:
    with serve(archive) as (url, traffic), serving(url) as client:
        assert client.json("/api/samples?start=0&count=5&values=caption")["total"] == N
        assert client.picture(3, "rgb").status == 200
        asked = {path.lstrip("/").split("/")[0] for path in traffic.requests if "tar" in path}
        assert asked == {"caption", "rgb"}


def test_many_ask_at_once_and_each_gets_its_own(client: Client) -> None:
    wanted = [
        (index, task, what)
        for index in (0, 17, 33, 8, 25)
        for task, what in (("rgb", "decoded"), ("depth", "decoded"), ("", "sample"))
    ] * 3

    def ask(one: tuple[int, str, str]) -> bytes:
        index, task, what = one
        found = (
            client.get(f"/api/sample/{index}") if what == "sample" else client.picture(index, task)
        )
        return found.body

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, wanted))
    for one, answer in zip(wanted, answers, strict=True):
        assert answer == ask(one)
        if one[2] == "sample":
            assert json.loads(answer)["name"] == f"scene_{one[0] % 3}/square {one[0]:05d}"


def test_a_port_that_is_taken_is_said_so(client: Client, archive: Path) -> None:
    port = client.server.server_address[1]
    content = client.server.content
    with pytest.raises(UsageError, match=f"--port {port}"):
        open_server(content, "127.0.0.1", port, True)
    with open_server(content, "127.0.0.1", port, False) as other:
        assert other.server_address[1] != port
    with pytest.raises(UsageError, match="nothing can listen there"):
        open_server(content, "no.such.host.invalid", 0, True)


def test_addresses_are_spelt_for_a_browser(client: Client) -> None:
    content = client.server.content
    assert client.server.url == f"http://127.0.0.1:{client.server.server_address[1]}/"
    with suppress(UsageError), open_server(content, "::1", 0, True) as six:
        assert six.url.startswith("http://[::1]:")
    with open_server(content, "0.0.0.0", 0, True) as every:
        assert every.url.startswith("http://localhost:")
        assert not is_own("evil.example", every.names)
