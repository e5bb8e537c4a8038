"""Tiny data sets laid out as the published ones are, for tests that draw or name layouts.

`LOOKS` has one maker a layout. A maker writes the files below a root and gives a `Look`: what a
source must find there.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SHAPE = (12, 16)


@dataclass(frozen=True)
class Look:
    """What must be found of a look-alike.

    Attributes
    ----------
    layout
        Name of the layout.
    tasks
        Kind by task name.
    samples
        How many there are.
    first
        The first sample's key.
    splits
        Number of samples by split.
    units
        Metres a count, by task of depth.
    invalid
        Values without meaning, by task.
    left_out
        Tasks of left-out files that look like one.
    beside
        Words of the reasons why other files are left out.
    values
        By (sample, task), the native array that must be read.
    incomplete
        How many samples lack a task.
    """

    layout: str
    tasks: Mapping[str, str]
    samples: int
    first: str
    splits: Mapping[str, int] = field(default_factory=dict)
    units: Mapping[str, float] = field(default_factory=dict)
    invalid: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    beside: tuple[str, ...] = ()
    values: Mapping[tuple[int, str], NDArray[Any]] = field(default_factory=dict)
    incomplete: int = 0


Maker = Callable[[Path], Look]
LOOKS: dict[str, Maker] = {}


def look(maker: Maker) -> Maker:
    """Register a maker under its function's name."""
    LOOKS[maker.__name__] = maker
    return maker


class Drawer:
    """Draws arrays of the usual kinds from one seed, and writes them."""

    def __init__(self, root: Path, seed: int = 0) -> None:
        self.root = root
        self.rng = np.random.default_rng(seed)

    def rgb(self, *paths: str) -> NDArray[np.uint8]:
        """Write pictures; the last one's pixels are given."""
        for path in paths:
            array = self.rng.integers(0, 256, (*SHAPE, 3), np.uint8)
            put(self.root / path, array)
        return array

    def gray(self, *paths: str) -> NDArray[np.uint8]:
        """Write gray pictures."""
        for path in paths:
            array = self.rng.integers(0, 256, SHAPE, np.uint8)
            put(self.root / path, array)
        return array

    def counts(self, *paths: str, low: int = 800, high: int = 4000) -> NDArray[np.uint16]:
        """Write 16-bit counts with holes of 0."""
        for path in paths:
            array = self.rng.integers(low, high, SHAPE, np.uint16)
            array[:3, :3] = 0
            put(self.root / path, array)
        return array

    def labels(self, *paths: str, top: int = 5, dtype: str = "uint8") -> NDArray[Any]:
        """Write maps of a few ids."""
        for path in paths:
            array = np.zeros(SHAPE, dtype)
            array[:, 5:] = self.rng.integers(1, top)
            array[7:, :9] = top
            put(self.root / path, array)
        return array

    def colours(self, *paths: str) -> NDArray[np.uint8]:
        """Write maps whose ids are colours."""
        for path in paths:
            ids = self.labels(f"{path}.tmp.png")
            (self.root / f"{path}.tmp.png").unlink()
            array = np.stack([ids * 37, ids * 11, ids], axis=-1).astype(np.uint8)
            put(self.root / path, array)
        return array

    def matrix(self, *paths: str, rows: int = 4, columns: int = 4) -> NDArray[np.float64]:
        """Write small matrices of text."""
        for path in paths:
            array = np.round(self.rng.normal(size=(rows, columns)), 6)
            text(self.root / path, "\n".join(" ".join(f"{x:.6f}" for x in row) for row in array))
        return array

    def metres(self, *paths: str, channels: bool = False) -> NDArray[np.float32]:
        """Write depth in metres with holes of 0."""
        for path in paths:
            array = self.rng.uniform(0.5, 9, SHAPE).astype(np.float32)
            array[0, :2] = 0
            put(self.root / path, array[:, :, None] if channels else array)
        return array

    def normals(self, *paths: str, dtype: str = "float32") -> NDArray[Any]:
        """Write unit vectors."""
        for path in paths:
            array = self.rng.normal(size=(*SHAPE, 3))
            array /= np.linalg.norm(array, axis=-1, keepdims=True)
            put(self.root / path, array.astype(dtype))
        return array.astype(dtype)


def put(path: Path, array: NDArray[Any]) -> None:
    """Write an array in the format of the path's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".hdf5":
        with h5py.File(path, "w") as file:
            file["dataset"] = array
    elif path.suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(array))
    else:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, "JPEG", quality=95)
        path.write_bytes(buffer.getvalue())


def text(path: Path, content: str = "x") -> None:
    """Write a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@look
def scannet(root: Path) -> Look:
    d = Drawer(root)
    first: dict[tuple[int, str], NDArray[Any]] = {}
    camera: dict[str, NDArray[Any]] = {}
    for scene in ("scene0000_00", "scene0000_01"):
        for frame in (0, 2, 10):
            d.rgb(f"{scene}/color/{frame}.jpg")
            depth = d.counts(f"{scene}/depth/{frame}.png")
            pose = d.matrix(f"{scene}/pose/{frame}.txt")
            label = d.labels(f"{scene}/label-filt/{frame}.png", top=1400, dtype="uint16")
            d.labels(f"{scene}/instance-filt/{frame}.png")
            if not first:
                first = {(0, "depth"): depth, (0, "label_filt"): label, (0, "pose"): pose.ravel()}
        text(root / scene / "pose/2.txt", "\n".join(["-inf -inf -inf -inf"] * 4))
        for name in ("intrinsic_color", "intrinsic_depth", "extrinsic_color", "extrinsic_depth"):
            camera[name] = d.matrix(f"{scene}/intrinsic/{name}.txt").ravel()
        text(root / scene / f"{scene}.txt", "axisAlignment = 1 0 0 0")
        text(root / scene / f"{scene}_vh_clean_2.ply")
    return Look(
        "scannet",
        {
            "rgb": "image",
            "depth": "depth",
            "pose": "vector",
            "label_filt": "label",
            "instance_filt": "label",
            **dict.fromkeys(camera, "vector"),
        },
        6,
        "scene0000_00__0",
        units={"depth": 1 / 1000},
        invalid={"depth": (0, 65535)},
        beside=("facts about a whole scene", "not of a frame"),
        values={**first, **{(5, name): values for name, values in camera.items()}},
    )


@look
def scannet_colour_only(root: Path) -> Look:
    d = Drawer(root)
    for scene in ("scene0000_00", "scene0001_00"):
        d.rgb(*(f"{scene}/color/{frame}.jpg" for frame in range(3)))
    return Look("scannet", {"rgb": "image"}, 6, "scene0000_00__0")


@look
def scannet_one_scene(root: Path) -> Look:
    d = Drawer(root)
    for frame in range(3):
        d.rgb(f"color/{frame}.jpg")
        d.counts(f"depth/{frame}.png")
        d.matrix(f"pose/{frame}.txt")
    d.matrix("intrinsic/intrinsic_color.txt", "intrinsic/intrinsic_depth.txt")
    return Look(
        "scannet",
        {
            "rgb": "image",
            "depth": "depth",
            "pose": "vector",
            "intrinsic_color": "vector",
            "intrinsic_depth": "vector",
        },
        3,
        "0",
        units={"depth": 1 / 1000},
    )


@look
def seven_scenes(root: Path) -> Look:
    d = Drawer(root)
    for sequence in ("seq-01", "seq-02"):
        for frame in range(2):
            name = f"chess/{sequence}/frame-{frame:06d}"
            d.rgb(f"{name}.color.png")
            d.counts(f"{name}.depth.png")
            d.matrix(f"{name}.pose.txt")
    d.matrix("chess/camera-intrinsics.txt", rows=3, columns=3)
    own = d.matrix("chess/seq-02/camera-intrinsics.txt", rows=3, columns=3)
    text(root / "chess/TrainSplit.txt", "sequence1")
    text(root / "chess/TestSplit.txt", "sequence2")
    return Look(
        "7-scenes",
        {"rgb": "image", "depth": "depth", "pose": "vector", "intrinsics": "vector"},
        4,
        "chess__seq-01__frame-000000",
        units={"depth": 1 / 1000},
        invalid={"depth": (0, 65535)},
        values={(2, "intrinsics"): own.ravel()},
        beside=("names the sequences of a split",),
    )


@look
def tum(root: Path) -> Look:
    d = Drawer(root)
    recording = "rgbd_dataset_freiburg1_xyz"
    for stamp in ("175304", "211214", "243211", "999999"):
        d.rgb(f"{recording}/rgb/1305031102.{stamp}.png")
    d.counts(f"{recording}/depth/1305031102.160407.png", low=3000, high=20000)
    depth = d.counts(f"{recording}/depth/1305031102.226738.png", low=3000, high=20000)
    for stamp in ("262886", "500000"):
        d.counts(f"{recording}/depth/1305031102.{stamp}.png", low=3000, high=20000)
    for name in ("rgb", "depth", "groundtruth", "accelerometer"):
        text(root / recording / f"{name}.txt", "# timestamp filename")
    return Look(
        "tum-rgbd",
        {"rgb": "image", "depth": "depth"},
        5,
        "rgbd_dataset_freiburg1_xyz__1305031102-175304-",
        units={"depth": 1 / 5000},
        invalid={"depth": (0,)},
        beside=("lists the frames", "one track for a whole recording"),
        values={(1, "depth"): depth},
        incomplete=2,
    )


@look
def time_stamps(root: Path) -> Look:
    d = Drawer(root)
    for at in range(3):
        d.rgb(f"run/color/{1600000000000000000 + at * 33_000_000}.jpg")
        d.counts(f"run/depth/{1600000000004000000 + at * 33_000_000}.png")
    return Look(
        "time-stamps",
        {"rgb": "image", "depth": "depth"},
        3,
        "run__1600000000000000000",
        units={"depth": 1 / 1000},
    )


@look
def kitti_depth(root: Path) -> Look:
    d = Drawer(root)
    for split, drive in (("train", "0001"), ("val", "0002")):
        name = f"2011_09_26_drive_{drive}_sync"
        for camera in ("image_02", "image_03"):
            for frame in range(5, 8):
                d.rgb(f"2011_09_26/{name}/{camera}/data/{frame:010d}.png")
                depth = d.counts(f"{split}/{name}/proj_depth/groundtruth/{camera}/{frame:010d}.png")
                d.counts(f"{split}/{name}/proj_depth/velodyne_raw/{camera}/{frame:010d}.png")
        times = "\n".join(f"2011-09-26 13:02:{at:02d}.000000001" for at in range(8))
        text(root / "2011_09_26" / name / "image_02/timestamps.txt", times)
        for frame in range(3):
            text(root / "2011_09_26" / name / f"velodyne_points/data/{frame:010d}.bin")
            text(root / "2011_09_26" / name / f"oxts/data/{frame:010d}.txt", "49.0 8.4")
    text(root / "2011_09_26/calib_cam_to_cam.txt")
    return Look(
        "kitti-depth",
        {"rgb": "image", "depth": "depth", "depth_velodyne": "depth"},
        12,
        "2011_09_26_drive_0001_sync__image_02__0000000005",
        {"train": 6, "val": 6},
        units={"depth": 1 / 256, "depth_velodyne": 1 / 256},
        invalid={"depth": (0,), "depth_velodyne": (0,)},
        left_out=frozenset({"velodyne_points", "oxts"}),
        beside=("times of a whole drive", "camera of a whole day"),
        values={(11, "depth"): depth},
    )


@look
def kitti_depth_selection(root: Path) -> Look:
    d = Drawer(root)
    base = "depth_selection/val_selection_cropped"
    for frame in (5, 8):
        for what in ("image", "groundtruth_depth", "velodyne_raw"):
            path = f"{base}/{what}/2011_09_26_drive_0002_sync_{what}_{frame:010d}_image_02.png"
            (d.rgb if what == "image" else d.counts)(path)
        d.matrix(
            f"{base}/intrinsics/2011_09_26_drive_0002_sync_image_{frame:010d}_image_02.txt",
            rows=1,
            columns=9,
        )
    return Look(
        "kitti-depth",
        {"rgb": "image", "depth": "depth", "depth_velodyne": "depth", "intrinsics": "vector"},
        2,
        "val_selection_cropped__2011_09_26_drive_0002_sync_0000000005_image_02",
        units={"depth": 1 / 256},
    )


@look
def kitti_flow(root: Path) -> Look:
    d = Drawer(root)
    for frame in range(2):
        for part in ("training", "testing"):
            d.rgb(*(f"{part}/image_{c}/{frame:06d}_{at}.png" for c in (2, 3) for at in (10, 11)))
        for what in ("disp_occ_0", "disp_noc_0", "disp_occ_1"):
            disparity = d.counts(f"training/{what}/{frame:06d}_10.png")
        flow = d.rng.integers(0, 65536, (*SHAPE, 3), np.uint16)
        flow[..., 2] = flow[..., 2] > 30000
        put(root / f"training/flow_occ/{frame:06d}_10.png", flow)
        d.labels(f"training/obj_map/{frame:06d}_10.png")
        text(root / f"training/calib_cam_to_cam/{frame:06d}.txt", "P0: 1")
    return Look(
        "kitti",
        {
            "image_2": "image",
            "image_3": "image",
            "disp_occ_0": "disparity",
            "disp_noc_0": "disparity",
            "disp_occ_1": "disparity",
            "flow_occ": "flow",
            "obj_map": "label",
        },
        8,
        "training__000000_10",
        {"train": 4, "test": 4},
        invalid={"disp_occ_0": (0,), "disp_occ_1": (0,)},
        beside=("cameras, by name",),
        values={(2, "flow_occ"): flow, (2, "disp_occ_1"): disparity},
        incomplete=6,
    )


@look
def kitti_object(root: Path) -> Look:
    d = Drawer(root)
    for frame in range(3):
        d.rgb(f"training/image_2/{frame:06d}.png", f"testing/image_2/{frame:06d}.png")
        text(root / f"training/velodyne/{frame:06d}.bin")
        text(root / f"training/label_2/{frame:06d}.txt", "Car 0 0 1.5")
        text(root / f"training/calib/{frame:06d}.txt", "P0: 1")
    return Look(
        "kitti",
        {"image_2": "image", "calib": "text", "label_2": "text", "velodyne": "bytes"},
        6,
        "training__000000",
        {"train": 3, "test": 3},
        incomplete=3,
    )


@look
def cityscapes(root: Path) -> Look:
    d = Drawer(root)
    cities = (("train", "aachen"), ("train", "bochum"), ("val", "frankfurt"), ("test", "berlin"))
    for split, city in cities:
        for frame in range(2):
            stem = f"{split}/{city}/{city}_{frame:06d}_000019"
            d.rgb(f"leftImg8bit/{stem}_leftImg8bit.png")
            d.counts(f"disparity/{stem}_disparity.png")
            if split != "test":
                d.labels(f"gtFine/{stem}_gtFine_labelIds.png", top=33)
                ids = d.labels(f"gtFine/{stem}_gtFine_instanceIds.png", top=26001, dtype="uint16")
                d.colours(f"gtFine/{stem}_gtFine_color.png")
                text(root / f"gtFine/{stem}_gtFine_polygons.json", "{}")
    return Look(
        "cityscapes",
        {
            "rgb": "image",
            "disparity": "disparity",
            "gtfine_labelids": "label",
            "gtfine_instanceids": "label",
            "gtfine_color": "label",
            "gtfine_polygons": "json",
        },
        8,
        "train__aachen__aachen_000000_000019",
        {"train": 4, "val": 2, "test": 2},
        invalid={"disparity": (0,)},
        values={(5, "gtfine_instanceids"): ids},
        incomplete=2,
    )


@look
def camvid(root: Path) -> Look:
    d = Drawer(root)
    for split in ("train", "val", "test"):
        for frame in (30, 60):
            d.rgb(f"{split}/0016E5_{frame:05d}.png")
            d.labels(f"{split}annot/0016E5_{frame:05d}.png")
        text(root / f"{split}.txt")
    return Look(
        "camvid",
        {"rgb": "image", "labels": "label"},
        6,
        "train__0016E5_00030",
        {"train": 2, "val": 2, "test": 2},
        beside=("of the whole data set",),
    )


@look
def camvid_suffixes(root: Path) -> Look:
    d = Drawer(root)
    for frame in (30, 60):
        d.rgb(f"images/Seq05VD_f{frame:05d}.png")
        d.labels(f"labels/Seq05VD_f{frame:05d}_P.png")
    text(root / "codes.txt")
    return Look("camvid", {"rgb": "image", "labels": "label"}, 2, "Seq05VD_f00030")


@look
def coco(root: Path) -> Look:
    d = Drawer(root)
    for split, frames in (("train2017", (9, 25)), ("val2017", (139,))):
        for frame in frames:
            d.rgb(f"{split}/{frame:012d}.jpg")
            ids = d.colours(f"annotations/panoptic_{split}/{frame:012d}.png")
        text(root / f"annotations/panoptic_{split}.json", "{}")
    return Look(
        "coco",
        {"rgb": "image", "panoptic": "label"},
        3,
        "train2017__000000000009",
        {"train": 2, "val": 1},
        beside=("annotations of the whole data set",),
        values={(2, "panoptic"): ids},
    )


@look
def coco_unpacked_beside(root: Path) -> Look:
    d = Drawer(root)
    for frame in (9, 25):
        d.rgb(f"images/train2017/{frame:012d}.jpg")
        d.colours(f"panoptic_train2017/{frame:012d}.png")
    return Look(
        "coco", {"rgb": "image", "panoptic": "label"}, 2, "train2017__000000000009", {"train": 2}
    )


@look
def coco_stuff(root: Path) -> Look:
    d = Drawer(root)
    for frame in (9, 25):
        d.rgb(f"images/train2017/{frame:012d}.jpg")
        d.labels(f"stuffthingmaps/train2017/{frame:012d}.png")
        ids = d.labels(f"annotations/train2017/{frame:012d}_labelTrainIds.png")
    return Look(
        "coco",
        {
            "rgb": "image",
            "stuffthingmaps": "label",
            "annotations_labeltrainids": "label",
        },
        2,
        "train2017__000000000009",
        {"train": 2},
        values={(1, "annotations_labeltrainids"): ids},
    )


@look
def sun_rgbd(root: Path) -> Look:
    d = Drawer(root)
    for at in (1, 2):
        for base, picture, depth in (
            (f"kv1/NYUdata/NYU{at:04d}", f"NYU{at:04d}.jpg", f"NYU{at:04d}.png"),
            (
                f"xtion/sun3ddata/brown/{at:04d}_2014",
                f"{at:07d}-000000000000.jpg",
                f"{at:07d}-000000012345.png",
            ),
        ):
            d.rgb(f"{base}/image/{picture}")
            millimetres = d.rng.integers(500, 8000, SHAPE, np.uint16)
            millimetres[0] = 0
            for what in ("depth", "depth_bfx"):
                put(root / base / what / depth, (millimetres << 3) | (millimetres >> 13))
            d.matrix(f"{base}/intrinsics.txt", rows=1, columns=9)
            d.matrix(f"{base}/extrinsics/20150118235401.txt", rows=3)
            text(root / base / "scene.txt", "bedroom")
            text(root / base / "seg.mat")
            text(root / base / "annotation2Dfinal/index.json", "{}")
            d.rgb(f"{base}/fullres/{picture}")
    return Look(
        "sun-rgbd",
        {
            "rgb": "image",
            "depth": "depth",
            "depth_bfx": "depth",
            "intrinsics": "vector",
            "extrinsics": "vector",
            "scene": "text",
            "annotation2dfinal": "json",
        },
        4,
        "kv1__NYUdata__NYU0001",
        units={"depth": 1 / 1000, "depth_bfx": 1 / 1000},
        invalid={"depth": (0,)},
        left_out=frozenset({"seg", "fullres"}),
        values={(3, "depth"): millimetres, (3, "depth_bfx"): millimetres},
    )


@look
def diode(root: Path) -> Look:
    d = Drawer(root)
    for split in ("train", "val"):
        base = f"{split}/indoors/scene_00000/scan_00000/00000_00000_indoors_000_0"
        for at in ("00", "10"):
            d.rgb(f"{base}{at}.png")
            depth = d.metres(f"{base}{at}_depth.npy", channels=True)
            put(root / f"{base}{at}_depth_mask.npy", (depth > 0).astype(np.float32))
            d.normals(f"{base}{at}_normal.npy")
    return Look(
        "diode",
        {"rgb": "image", "depth": "depth", "depth_mask": "array", "normal": "normal"},
        4,
        "train__indoors__scene_00000__scan_00000__00000_00000_indoors_000_000",
        {"train": 2, "val": 2},
        units={"depth": 1 / 1000},
        invalid={"depth": (0,)},
        values={(3, "depth"): np.rint(depth * 1000).astype(np.uint16)},
    )


@look
def replica(root: Path) -> Look:
    d = Drawer(root)
    for scene in ("office0", "room0"):
        for at in range(2):
            d.rgb(f"{scene}/results/frame{at:06d}.jpg")
            d.counts(f"{scene}/results/depth{at:06d}.png", low=6000, high=40000)
        text(root / scene / "traj.txt")
        text(root / f"{scene}_mesh.ply")
    text(root / "cam_params.json", "{}")
    return Look(
        "replica",
        {"rgb": "image", "depth": "depth"},
        4,
        "office0__000000",
        units={"depth": 1 / 6553.5},
        invalid={"depth": (0,)},
        beside=("poses of a whole recording", "camera of all recordings", "mesh of a whole scene"),
    )


@look
def replica_semantic(root: Path) -> Look:
    d = Drawer(root)
    for at in (0, 1, 10):
        base = "office_0/Sequence_1"
        d.rgb(f"{base}/rgb/rgb_{at}.png")
        d.counts(f"{base}/depth/depth_{at}.png")
        d.labels(f"{base}/semantic_class/semantic_class_{at}.png")
        d.labels(f"{base}/semantic_instance/semantic_instance_{at}.png")
    text(root / "office_0/Sequence_1/traj_w_c.txt")
    return Look(
        "replica-semantic",
        {
            "rgb": "image",
            "depth": "depth",
            "semantic_class": "label",
            "semantic_instance": "label",
        },
        3,
        "office_0__Sequence_1__0",
        units={"depth": 1 / 1000},
        beside=("poses of a whole recording",),
    )


@look
def hypersim(root: Path) -> Look:
    d = Drawer(root)
    for at in range(2):
        base, frame = "ai_001_001/images/scene_cam_00", f"frame.{at:04d}"
        d.rgb(
            f"{base}_final_preview/{frame}.tonemap.jpg", f"{base}_final_preview/{frame}.color.jpg"
        )
        colour = d.rng.uniform(0, 8, (*SHAPE, 3)).astype(np.float16)
        put(root / f"{base}_final_hdf5/{frame}.color.hdf5", colour)
        distance = d.metres(f"{base}_geometry_hdf5/{frame}.depth_meters.hdf5").astype(np.float16)
        distance[0, 0] = np.nan
        put(root / f"{base}_geometry_hdf5/{frame}.depth_meters.hdf5", distance)
        d.normals(f"{base}_geometry_hdf5/{frame}.normal_cam.hdf5", dtype="float16")
        ids = d.rng.integers(-1, 12, SHAPE).astype(np.int16)
        put(root / f"{base}_geometry_hdf5/{frame}.semantic.hdf5", ids)
    text(root / "ai_001_001/_detail/metadata_scene.csv")
    return Look(
        "hypersim",
        {
            "rgb": "image",
            "color_hdr": "array",
            "depth_meters": "depth",
            "normal_cam": "normal",
            "semantic": "label",
        },
        2,
        "ai_001_001__images__scene_cam_00__0000",
        units={"depth_meters": 1 / 1000},
        invalid={"semantic": (-1,)},
        beside=("preview of what its HDF5 holds", "facts about a whole scene"),
        values={(1, "semantic"): ids.astype(np.int32), (1, "color_hdr"): colour},
    )


@look
def hypersim_geometry_only(root: Path) -> Look:
    d = Drawer(root)
    for at in range(2):
        d.metres(f"ai_001_001/images/scene_cam_00_geometry_hdf5/frame.{at:04d}.depth_meters.hdf5")
    return Look("hypersim", {"depth_meters": "depth"}, 2, "ai_001_001__images__scene_cam_00__0000")


@look
def voc(root: Path) -> Look:
    d = Drawer(root)
    base = "VOCdevkit/VOC2012"
    for at in range(4):
        d.rgb(f"{base}/JPEGImages/2007_{at:06d}.jpg")
        text(root / base / f"Annotations/2007_{at:06d}.xml", "<annotation/>")
        if at % 2:
            ids = d.labels(f"{base}/SegmentationClass/2007_{at:06d}.png", top=255)
            d.labels(f"{base}/SegmentationObject/2007_{at:06d}.png", top=255)
    text(root / base / "ImageSets/Segmentation/train.txt")
    return Look(
        "voc",
        {
            "rgb": "image",
            "segmentationclass": "label",
            "segmentationobject": "label",
            "annotations": "text",
        },
        4,
        "VOCdevkit__VOC2012__2007_000000",
        invalid={"segmentationclass": (255,)},
        beside=("names the samples of a split",),
        values={(3, "segmentationclass"): ids},
        incomplete=2,
    )


@look
def ade20k(root: Path) -> Look:
    d = Drawer(root)
    for split, short in (("training", "train"), ("validation", "val")):
        for at in range(2):
            d.rgb(f"ADE/images/{split}/ADE_{short}_{at:08d}.jpg")
            d.labels(f"ADE/annotations/{split}/ADE_{short}_{at:08d}.png", top=150)
    text(root / "ADE/objectInfo150.txt")
    return Look(
        "ade20k",
        {"rgb": "image", "annotations": "label"},
        4,
        "ADE__training__ADE_train_00000000",
        {"train": 2, "val": 2},
        invalid={"annotations": (0,)},
        beside=("of the whole data set",),
    )


@look
def oxford_pets(root: Path) -> Look:
    d = Drawer(root)
    for name in ("Abyssinian_1", "Abyssinian_2", "yorkshire_terrier_10"):
        d.rgb(f"images/{name}.jpg")
        d.labels(f"annotations/trimaps/{name}.png", top=3)
    text(root / "annotations/xmls/Abyssinian_1.xml")
    text(root / "annotations/list.txt")
    return Look(
        "oxford-pets",
        {"rgb": "image", "trimaps": "label", "xmls": "text"},
        3,
        "Abyssinian_1",
        beside=("of the whole data set",),
        incomplete=2,
    )
