"""Photographs with maps of what is seen where: COCO, Pascal VOC, ADE20K, Oxford-IIIT Pet."""

from dsc._sources.folder.published.form import BELOW, PICTURES, Form, Rule, keep_all, needs
from dsc._sources.meaning.decide import Stated

_LABEL = Stated(kind="label")
_WHOLE_SET = "annotations of the whole data set in one file"

_COCO_SPLIT = r"(?P<b>(?:train|val|test|unlabeled)20\d\d)"
COCO = Form(
    name="coco",
    why="train2017/<number>.jpg, and ids by colour in annotations/panoptic_train2017",
    hints=("train20", "val20", "test20", "unlabeled20"),
    mark=r"(^|/)(train|val|test|unlabeled)20\d\d$",
    rules=(
        *(
            Rule(
                r"(?:.*/)?(?P<task>annotations|stuffthingmaps|labels?|masks?)/" + _COCO_SPLIT,
                r"(?P<stem>\d{12})" + ending,
                "{task}" + more,
                "{b}",
            )
            for ending, more in ((r"\.png", ""), (r"_(?P<ids>\w+Ids)\.png", "_{ids}"))
        ),
        Rule(
            r"(?:.*/)?(?P<task>panoptic|stuff)(?:_stuff)?_" + _COCO_SPLIT + r"(?:_pixelmaps)?",
            r"(?P<stem>\d{12})\.png",
            "{task}",
            "{b}",
        ),
        Rule(r"(?:.*/)?" + _COCO_SPLIT, rf"(?P<stem>\d{{12}})\.{PICTURES}", "rgb", "{b}"),
        Rule(
            r"(?:.*/)?" + _COCO_SPLIT,
            rf"(?P<stem>COCO_\w+_\d{{12}})\.{PICTURES}",
            "rgb",
            "{b}",
        ),
    ),
    needs=(needs("rgb"), needs("panoptic"), needs("stuff"), needs("annotations")),
    beside=(keep_all(r"[^/]+\.json", _WHOLE_SET),),
    known={"panoptic": _LABEL, "stuff": _LABEL},
)

_VOC = Stated(kind="label", invalid=(255,))
VOC = Form(
    name="voc",
    why="JPEGImages with SegmentationClass and SegmentationObject, 255 is void",
    hints=("JPEGImages",),
    mark=r"(^|/)JPEGImages$",
    rules=(
        Rule(BELOW + r"JPEGImages", rf"(?P<stem>.+)\.{PICTURES}", "rgb", "{a}"),
        Rule(BELOW + r"(?P<task>Segmentation\w+)", rf"(?P<stem>.+)\.{PICTURES}", "{task}", "{a}"),
        Rule(BELOW + r"(?P<task>Annotations)", r"(?P<stem>.+)\.xml", "{task}", "{a}"),
    ),
    needs=(needs("rgb", "segmentationclass"), needs("rgb", "segmentationobject")),
    beside=(keep_all(r"ImageSets/.*\.txt", "names the samples of a split"),),
    known={
        name: _VOC for name in ("segmentationclass", "segmentationobject", "segmentationclassaug")
    },
)

ADE20K = Form(
    name="ade20k",
    why="images/training/ADE_train_00000001.jpg with annotations/training, 0 is unlabelled",
    hints=("annotations/",),
    mark=r"(^|/)annotations/(training|validation)$",
    rules=(
        Rule(
            BELOW + r"images/(?P<b>training|validation|testing)",
            rf"(?P<stem>ADE_\w+)\.{PICTURES}",
            "rgb",
        ),
        Rule(
            BELOW + r"annotations/(?P<b>training|validation)",
            r"(?P<stem>ADE_\w+)\.png",
            "annotations",
        ),
        Rule(
            BELOW + r"annotations_instance/(?P<b>training|validation)",
            r"(?P<stem>ADE_\w+)\.png",
            "annotations_instance",
        ),
    ),
    needs=(needs("rgb", "annotations"),),
    beside=(
        keep_all(r"(?:objectInfo150|sceneCategories|README\w*)\.txt", "of the whole data set"),
    ),
    known={
        "annotations": Stated(kind="label", invalid=(0,)),
        "annotations_instance": _LABEL,
    },
)

PETS = Form(
    name="oxford-pets",
    why="images with annotations/trimaps (1 pet, 2 background, 3 border)",
    hints=("annotations/trimaps",),
    mark=r"(^|/)annotations/trimaps$",
    rules=(
        Rule(BELOW + r"images", rf"(?P<stem>.+)\.{PICTURES}", "rgb", "{a}"),
        Rule(BELOW + r"annotations/trimaps", r"(?P<stem>.+)\.png", "trimaps", "{a}"),
        Rule(BELOW + r"annotations/(?P<task>xmls)", r"(?P<stem>.+)\.xml", "{task}", "{a}"),
    ),
    needs=(needs("rgb", "trimaps"),),
    beside=(
        keep_all(r"annotations/(?:list|trainval|test|README)(?:\.txt)?", "of the whole data set"),
        keep_all(r"images/[^/]+\.mat", "left over by the authors, holds no picture"),
    ),
    known={"trimaps": _LABEL},
)

SEGMENTS = (COCO, VOC, ADE20K, PETS)
