"""An archive goes to a store and comes back by two commands; a wrong call says what to do."""

from pathlib import Path

from tests.cli.conftest import Command


def test_an_archive_goes_to_a_store_and_comes_back(
    dsc: Command, archive: Path, tmp_path: Path
) -> None:
    url = f"memory://{tmp_path.name}/views"
    ran = dsc("push", archive, url, "--dry-run", "--json")
    assert ran.code == 0, ran.err
    planned = ran.json()
    assert planned["dry_run"]
    ran = dsc("push", archive, url)
    assert ran.code == 0, ran.err
    assert f"dsc info {url}" in ran.out
    assert "push: " in ran.err
    again = dsc("push", archive, url, "--json").json()
    assert again["copied_bytes"] == 0
    assert again["kept_bytes"] > 0
    ran = dsc("pull", url, tmp_path / "b", "--json")
    assert ran.code == 0, ran.err
    assert ran.json()["samples"] == 5
    assert dsc("verify", tmp_path / "b").code == 0
    assert (tmp_path / "b" / "README.md").read_bytes() == (archive / "README.md").read_bytes()
    assert dsc("pull", url, tmp_path / "c", "--tasks", "depth").code == 0
    ran = dsc("push", tmp_path / "c", url)
    assert ran.code == 2
    assert "which this one lacks; a copy of some tasks is not put in its place" in ran.err


def test_wrong_calls_say_what_to_do(dsc: Command, archive: Path, tmp_path: Path) -> None:
    for words, said in (
        (("push", archive, "http://example.org/a"), "HTTP cannot be written to"),
        (("push", archive, "nothing://a"), "check the URL's scheme"),
        (("push", archive, ""), "give a directory"),
        (("push", archive, archive), "that is the archive itself"),
        (("push", tmp_path / "none", "memory://a"), "none"),
        (("push", archive, "hf://models/me/it"), "hf://datasets/USER/NAME"),
        (("push", archive, "memory://t", "--tasks", "flow"), "flow"),
        (("pull", archive, "s3://bucket/a"), "copies come to a local directory"),
        (("pull", tmp_path / "none", tmp_path / "b"), "none"),
    ):
        ran = dsc(*words)
        assert ran.code == 2, ran.err
        assert said in ran.err
        assert len(ran.err.strip().splitlines()) == 1


def test_what_writes_file_by_file_is_refused_at_the_hub(dsc: Command, archive: Path) -> None:
    url = "hf://datasets/me/views"
    for words in (
        ("compress", "taskonomy", "--views", 1, "--out", url),
        ("append", url, "taskonomy", "--views", 2),
        ("export", archive, "--out", url),
        ("view", archive, "--out", f"{url}/page.html"),
    ):
        ran = dsc(*words)
        assert ran.code == 2, ran.err
        assert "send an archive there with `dsc push`" in ran.err
