"""Another package's backbone: found by its entry point, used like ours, in processes too."""

import json
from pathlib import Path

from tests.places import ROOT
from tests.third_party import declare, run

EXAMPLE = ROOT / "examples" / "third_party_backbone"
DECLARED = "[dsc.backbones]\nbright = dsc_bright:make_bright\n"


def test_a_backbone_of_another_package_embeds_searches_and_grows(tmp_path: Path) -> None:
    declare(tmp_path / "site", "dsc-bright", DECLARED)
    paths = [tmp_path / "site", EXAMPLE]
    out = str(tmp_path / "views")
    views = ("taskonomy", "--size", "48", "--views")
    compress = run(paths, "compress", *views, "6", "--tasks", "rgb", "--out", out)
    assert compress.returncode == 0, compress.stderr
    ran = run(paths, "append", out, "--embed", "bright", "--workers", "2")
    assert ran.returncode == 0, ran.stderr
    ran = run(paths, "append", out, *views, "8")
    assert "2 samples added" in ran.stdout, ran.stderr
    ran = run(paths, "search", out, "point_7_view_0", "-k", "3", "--json")
    assert len(json.loads(ran.stdout)["neighbours"]) == 3
    without = run([], "append", out, *views, "9")
    assert without.returncode == 2
    assert "no backbone 'bright'; known: efficientnet-lite0" in without.stderr
