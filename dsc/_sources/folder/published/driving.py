"""Streets seen from a car: KITTI, Cityscapes, CamVid."""

from dataclasses import replace

from dsc._sources.folder.layout import FilePlace
from dsc._sources.folder.published.form import BELOW, PICTURES, Form, Rule, keep_all, needs
from dsc._sources.meaning.decide import Stated
from dsc._sources.meaning.names import name_of_split

_LABEL = Stated(kind="label")
_DEPTH_256 = Stated(kind="depth", unit_m=1 / 256, invalid=(0,))
_DISPARITY = Stated(kind="disparity", invalid=(0,))

_DRIVE_NAME = r"\d{4}_\d\d_\d\d_drive_\d{4}(?:_(?:sync|extract))?"
_DRIVE = rf"(?P<drive>{_DRIVE_NAME})"
_CAMERA = r"(?P<camera>image_0[0-3])"
_VIEW = "{drive}/{camera}"
_CROPPED = rf"{_DRIVE}_"


def one_split_a_drive(placed: list[tuple[FilePlace, str]]) -> list[tuple[FilePlace, str]]:
    """Return a drive's pictures, which lie in no split's directory, the split of its depth."""
    splits: dict[str, str] = {}
    for place, path in placed:
        split = next((s for part in path.split("/") if (s := name_of_split(part))), "")
        splits[place.group] = max(splits.get(place.group, ""), split)
    return [(replace(place, split=splits[place.group]), path) for place, path in placed]


KITTI_DEPTH = Form(
    name="kitti-depth",
    why="<drive>/proj_depth/groundtruth/image_02 with <drive>/image_02/data; depth at 1/256 m",
    hints=("_drive_", "_cropped/", "_anonymous/"),
    mark=rf"(^|/)({_DRIVE_NAME}/(proj_depth|image_0\d)|\w+_(cropped|anonymous))/",
    rules=(
        Rule(
            rf"(?:.*/)?{_DRIVE}/proj_depth/groundtruth/{_CAMERA}",
            r"(?P<stem>\d+)\.png",
            "depth",
            _VIEW,
        ),
        Rule(
            rf"(?:.*/)?{_DRIVE}/proj_depth/velodyne_raw/{_CAMERA}",
            r"(?P<stem>\d+)\.png",
            "depth_velodyne",
            _VIEW,
        ),
        Rule(
            rf"(?:.*/)?{_DRIVE}/(?P<camera>image_0[23])/data",
            rf"(?P<stem>\d+)\.{PICTURES}",
            "rgb",
            _VIEW,
        ),
        Rule(
            rf"(?:.*/)?{_DRIVE}/(?P<camera>image_0[01])/data",
            rf"(?P<stem>\d+)\.{PICTURES}",
            "gray",
            _VIEW,
        ),
        *(
            Rule(
                BELOW + rf"(?P<b>\w*selection_cropped)/{directory}",
                _CROPPED + rf"{directory}_(?P<n>\d+)_{_CAMERA}\.(?:png|txt)",
                task,
                "{b}",
                "{drive}_{n}_{camera}",
            )
            for directory, task in (
                ("image", "rgb"),
                ("groundtruth_depth", "depth"),
                ("velodyne_raw", "depth_velodyne"),
            )
        ),
        Rule(
            BELOW + r"(?P<b>\w*selection_cropped)/intrinsics",
            _CROPPED + rf"image_(?P<n>\d+)_{_CAMERA}\.txt",
            "intrinsics",
            "{b}",
            "{drive}_{n}_{camera}",
        ),
        *(
            Rule(
                BELOW + rf"(?P<b>\w+_anonymous)/{directory}",
                r"(?P<stem>\d{10})\.(?:png|txt)",
                task,
            )
            for directory, task in (
                ("image", "rgb"),
                ("velodyne_raw", "depth_velodyne"),
                ("intrinsics", "intrinsics"),
            )
        ),
    ),
    needs=(needs("depth"), needs("rgb"), needs("depth_velodyne")),
    beside=(
        keep_all(r"velodyne_points/.*\.bin", "point clouds are not read", "velodyne_points"),
        keep_all(r"oxts/data/.*\.txt", "motion of the car, not of a picture", "oxts"),
        keep_all(r"(?:.*/)?timestamps\w*\.txt", "times of a whole drive"),
        keep_all(r"oxts/dataformat\.txt", "explains other files"),
        keep_all(r"calib\w*\.txt", "camera of a whole day"),
    ),
    known={
        "depth": _DEPTH_256,
        "depth_velodyne": _DEPTH_256,
        "rgb": Stated(kind="image"),
    },
    pair=one_split_a_drive,
    sequence=rf"(?P<sequence>{_DRIVE_NAME}/image_0[0-3])/(?P<frame>\d+)",
    times="../timestamps.txt",
)

_SPLIT = r"(?P<b>(?:train|test)ing)"
_KITTI_MAPS = {
    **{f"disp_{what}_{at}": _DISPARITY for what in ("occ", "noc") for at in (0, 1)},
    **{f"disp_{what}": _DISPARITY for what in ("occ", "noc")},
    **{f"flow_{what}": Stated(kind="flow") for what in ("occ", "noc")},
    **{name: _LABEL for name in ("obj_map", "semantic", "semantic_rgb", "instance")},
}
KITTI = Form(
    name="kitti",
    why="training/image_2/000000_10.png with disp_occ_0, flow_occ, velodyne, label_2 and the like",
    hints=("training/", "testing/"),
    mark=r"(^|/)(training|testing)/(image_[0-3]|colored_[01])$",
    rules=(
        Rule(
            BELOW + _SPLIT + r"/(?P<task>(?!calib_)[^/]+)",
            rf"(?P<stem>\d{{6}}(?:_\d\d)?)\.(?:{PICTURES}|bin|txt|npy)",
            "{task}",
        ),
    ),
    needs=tuple(needs(name) for name in ("image_2", "image_0", "image_3", "colored_0")),
    beside=(keep_all(r"calib\w*/[^/]+\.txt", "cameras, by name"),),
    known=_KITTI_MAPS,
)

_CITY = r"(?P<b>(?:train|val|test|train_extra|demoVideo)(?:/[^/]+)?)"
_CITY_STEM = r"(?P<stem>.+?)"
CITYSCAPES = Form(
    name="cityscapes",
    why="leftImg8bit/<split>/<city> with gtFine/<split>/<city>",
    hints=("leftImg8bit", "gtFine", "gtCoarse"),
    mark=r"(^|/)(leftImg8bit|gtFine|gtCoarse)\w*(/|$)",
    rules=(
        Rule(
            BELOW + r"leftImg8bit(?:_[a-z]+)?/" + _CITY,
            rf"{_CITY_STEM}(?:_leftImg8bit)?\.{PICTURES}",
            "rgb",
        ),
        Rule(
            BELOW + r"(?P<set>gtFine|gtCoarse)(?:_[a-z]+)?/" + _CITY,
            _CITY_STEM + r"_(?P<kind>gtFine|gtCoarse)_(?P<task>\w+)\.\w+",
            "{kind}_{task}",
        ),
        Rule(
            BELOW
            + r"(?P<task>rightImg8bit|disparity|camera|vehicle|timestamp)(?:_[a-z]+)?/"
            + _CITY,
            _CITY_STEM + r"(?:_(?:rightImg8bit|disparity|camera|vehicle|timestamp))?\.\w+",
            "{task}",
        ),
    ),
    needs=(needs("rgb"), needs("gtfine_labelids"), needs("gtcoarse_labelids")),
    known={
        "disparity": _DISPARITY,
        "rightimg8bit": Stated(kind="image"),
        **{
            f"{kind}_{what}": _LABEL
            for kind in ("gtfine", "gtcoarse")
            for what in ("labelids", "labeltrainids", "instanceids", "instancetrainids", "color")
        },
    },
)

_CAMVID = r"(?P<stem>(?:0001TP|0006R0|0016E5|Seq05VD)_f?\d+)"
CAMVID = Form(
    name="camvid",
    why="frames such as 0016E5_00390.png in train/ with trainannot/, or images/ with labels/",
    hints=("trainannot", "train_labels", "LabeledApproved_full", "labels"),
    mark=r"(^|/)(trainannot|train_labels|LabeledApproved_full|labels)$",
    rules=(
        Rule(BELOW + r"(?P<b>train|val|test)", rf"{_CAMVID}\.png", "rgb"),
        Rule(
            BELOW + r"(?P<b>train|val|test)(?:annot|_labels)",
            rf"{_CAMVID}(?:_L|_P)?\.png",
            "labels",
        ),
        Rule(BELOW + r"(?:images|701_StillsRaw_full)", rf"{_CAMVID}\.png", "rgb"),
        Rule(BELOW + r"(?:labels|LabeledApproved_full)", rf"{_CAMVID}_[LP]\.png", "labels"),
    ),
    needs=(needs("rgb", "labels"),),
    beside=(
        keep_all(r"(?:codes|valid|train|val|test|label_colors)\.txt", "of the whole data set"),
        keep_all(r"class_dict\.csv", "of the whole data set"),
    ),
    known={"labels": _LABEL},
)

DRIVING = (KITTI_DEPTH, KITTI, CITYSCAPES, CAMVID)
