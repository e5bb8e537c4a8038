"""Recordings and renderings of rooms and scenes, frame by frame."""

import re

from dsc._sources.folder.layout import Listing
from dsc._sources.folder.published.form import (
    BELOW,
    IN_GROUP,
    PICTURES,
    Form,
    Rule,
    SharedRule,
    keep_all,
    needs,
)
from dsc._sources.meaning.decide import Stated
from dsc._sources.meaning.units import FileUnit

_MM = Stated(kind="depth", unit_m=1 / 1000, invalid=(0, 65535))
_LABEL = Stated(kind="label")
_METRES = FileUnit.parse("m")

SCANNET = Form(
    name="scannet",
    why="scene0000_00/color/0.jpg with depth, pose, label-filt and the like beside color",
    hints=("scene", "intrinsic", "label-filt", "instance-filt"),
    mark=r"(^|/)scene\d{4}_\d\d(/|$)|^(intrinsic|label-filt|instance-filt)$",
    rules=(
        Rule(
            BELOW + r"(?P<task>color|depth|pose|label(?:-filt)?|instance(?:-filt)?)",
            r"(?P<stem>\d+)\.\w+",
            "{task}",
            "{a}",
        ),
        Rule(
            BELOW + r"(?P<task>(?!intrinsics?$)[^/]+)",
            rf"(?P<stem>\d+)\.(?:{PICTURES}|txt|npy)",
            "{task}",
            "{a}",
        ),
    ),
    needs=(needs("rgb"), needs("depth")),
    beside=(
        keep_all(r"scene\d{4}_\d\d\.txt", "facts about a whole scene"),
        keep_all(r".*\.(?:ply|json|sens|zip)", "of a whole scene, not of a frame"),
    ),
    known={
        "depth": _MM,
        "label": _LABEL,
        "label_filt": _LABEL,
        "instance": _LABEL,
        "instance_filt": _LABEL,
        **{
            f"{which}trinsic{ending}_{camera}": Stated(kind="vector")
            for which in ("in", "ex")
            for ending in ("", "s")
            for camera in ("color", "depth")
        },
    },
    shared=(
        SharedRule(
            r"(?:(?P<a>.+?)/)??(?:intrinsics?/)?(?P<task>(?:in|ex)trinsics?_\w+)\.txt",
            "{task}",
        ),
    ),
    sequence=IN_GROUP + r"(?P<frame>\d+)",
)

_SEVEN = re.compile(r"(^|/)seq-\d+$")
_SEVEN_FRAME = re.compile(r"frame-\d{6}\.(color|depth)\.(png|jpg)")


def _is_seven_scenes(listing: Listing) -> bool:
    """Tell whether directories, or at least the files, are called as those of 7-Scenes."""
    return any(
        _SEVEN.search(directory) or any(map(_SEVEN_FRAME.fullmatch, names))
        for directory, names in listing.items()
    )


SEVEN_SCENES = Form(
    name="7-scenes",
    why="seq-01/frame-000000.color.png with .depth.png and .pose.txt",
    hints=("",),
    mark="",
    rules=(
        Rule(
            r"(?P<a>.*)",
            r"(?P<stem>frame-\d{6})\.(?P<task>[a-z._]+)\.(?:png|jpg|txt|json|npy)",
            "{task}",
            "{a}",
        ),
    ),
    needs=(needs("rgb", "depth"),),
    beside=(keep_all(r"(?:Train|Test)Split\.txt", "names the sequences of a split"),),
    known={"depth": _MM, "intrinsics": Stated(kind="vector")},
    also=_is_seven_scenes,
    shared=(SharedRule(BELOW + r"camera-intrinsics\.txt", "intrinsics"),),
    sequence=IN_GROUP + r"frame-(?P<frame>\d+)",
)

_SUN = r"(?P<stem>[^/]+)"
SUN_RGBD = Form(
    name="sun-rgbd",
    why="a directory a frame with image/, depth/ and depth_bfx/",
    hints=("/image", "depth_bfx"),
    mark=r"(^|/)(kv1|kv2|realsense|xtion)/.*/image$|(^|/)depth_bfx$",
    rules=(
        Rule(BELOW + _SUN + r"/image", rf"[^/]+\.{PICTURES}", "rgb", "{a}"),
        Rule(BELOW + _SUN + r"/(?P<task>depth|depth_bfx)", r"[^/]+\.png", "{task}", "{a}"),
        Rule(BELOW + _SUN + r"/extrinsics", r"[^/]+\.txt", "extrinsics", "{a}"),
        Rule(BELOW + _SUN, r"intrinsics\.txt", "intrinsics", "{a}"),
        Rule(BELOW + _SUN, r"(?P<task>scene)\.txt", "{task}", "{a}"),
        Rule(BELOW + _SUN, r"(?P<task>seg)\.mat", "{task}", "{a}"),
        Rule(BELOW + _SUN + r"/(?P<task>annotation\w*)", r"[^/]+\.json", "{task}", "{a}"),
    ),
    needs=(needs("rgb", "depth"), needs("rgb", "depth_bfx")),
    beside=(
        keep_all(r"fullres/[^/]+", "before cropping, of another size than the others", "fullres"),
    ),
    known={
        "depth": Stated(kind="depth", file_unit=FileUnit.parse("rotated"), invalid=(0,)),
        "depth_bfx": Stated(kind="depth", file_unit=FileUnit.parse("rotated"), invalid=(0,)),
    },
)

DIODE = Form(
    name="diode",
    why="scene_00000/scan_00000/<name>.png with <name>_depth.npy",
    hints=("scan_",),
    mark=r"(^|/)scene_\d{5}/scan_\d{5}$",
    rules=(
        Rule(
            BELOW + r"(?P<b>scene_\d{5}/scan_\d{5})",
            r"(?P<stem>.+?)_(?P<task>depth|depth_mask|normal)\.npy",
            "{task}",
        ),
        Rule(BELOW + r"(?P<b>scene_\d{5}/scan_\d{5})", rf"(?P<stem>.+)\.{PICTURES}", "rgb"),
    ),
    needs=(needs("rgb", "depth"), needs("rgb", "normal")),
    known={"depth": Stated(kind="depth", file_unit=_METRES), "normal": Stated(kind="normal")},
)

REPLICA = Form(
    name="replica",
    why="results/frame000000.jpg with depth000000.png at 1/6553.5 m",
    hints=("results",),
    mark=r"(^|/)results$",
    rules=(
        Rule(BELOW + r"results", rf"frame(?P<stem>\d{{6}})\.{PICTURES}", "rgb", "{a}"),
        Rule(BELOW + r"results", r"(?P<task>[a-z]+)(?P<stem>\d{6})\.png", "{task}", "{a}"),
    ),
    needs=(needs("rgb", "depth"),),
    beside=(
        keep_all(r"traj\.txt", "poses of a whole recording in one file"),
        keep_all(r"cam_params\.json", "camera of all recordings"),
        keep_all(r"[^/]+\.ply", "mesh of a whole scene"),
    ),
    known={"depth": Stated(kind="depth", unit_m=1 / 6553.5, invalid=(0,))},
    sequence=IN_GROUP + r"(?P<frame>\d+)",
)

SEMANTIC_NERF = Form(
    name="replica-semantic",
    why="rgb/rgb_0.png with depth/depth_0.png and semantic_class/semantic_class_0.png",
    hints=("semantic_class",),
    mark=r"(^|/)semantic_class$",
    rules=(
        Rule(
            BELOW + r"(?P<task>[a-z_]+)",
            r"(?:[a-z]+_)+(?P<stem>\d+)\.(?:png|jpg|npy)",
            "{task}",
            "{a}",
        ),
    ),
    needs=(needs("rgb", "semantic_class"), needs("depth", "semantic_class")),
    beside=(keep_all(r"traj\w*\.txt", "poses of a whole recording in one file"),),
    known={"depth": _MM, "semantic_class": _LABEL, "semantic_instance": _LABEL},
    sequence=IN_GROUP + r"(?P<frame>\d+)",
)

_CAMERA = r"(?P<cam>scene_cam_\d\d)"
_FRAME = r"frame\.(?P<stem>\d{4})\."
_IDS = Stated(kind="label", invalid=(-1,))
HYPERSIM = Form(
    name="hypersim",
    why="images/scene_cam_00_geometry_hdf5/frame.0000.depth_meters.hdf5; depth is distance",
    hints=("scene_cam_",),
    mark=r"(^|/)scene_cam_\d\d_(geometry|final)_(hdf5|preview)$",
    rules=(
        Rule(BELOW + _CAMERA + r"_final_hdf5", _FRAME + r"color\.hdf5", "color_hdr", "{a}/{cam}"),
        Rule(
            BELOW + _CAMERA + r"_(?:final|geometry)_hdf5",
            _FRAME + r"(?P<task>\w+)\.hdf5",
            "{task}",
            "{a}/{cam}",
        ),
        Rule(BELOW + _CAMERA + r"_final_preview", _FRAME + r"tonemap\.jpg", "rgb", "{a}/{cam}"),
    ),
    needs=(needs("rgb"), needs("color_hdr"), needs("depth_meters"), needs("normal_cam")),
    beside=(
        keep_all(
            r"scene_cam_\d\d_\w+_preview/frame\.\d{4}\.\w+\.\w+", "preview of what its HDF5 holds"
        ),
        keep_all(r"_detail/.*", "facts about a whole scene"),
    ),
    known={
        "depth_meters": Stated(kind="depth", file_unit=_METRES),
        **{
            name: Stated(kind="normal")
            for name in ("normal_cam", "normal_world", "normal_bump_cam", "normal_bump_world")
        },
        **{name: _IDS for name in ("semantic", "semantic_instance", "render_entity_id")},
    },
    arrays=(".hdf5",),
    sequence=IN_GROUP + r"(?P<frame>\d+)",
)

SCENES = (SCANNET, SEVEN_SCENES, SUN_RGBD, DIODE, REPLICA, SEMANTIC_NERF, HYPERSIM)
