"""Frozen networks that turn pictures into embeddings and feature maps, and one of your own.

A package of your own adds a backbone by an entry point of the group ``dsc.backbones``, which names
what makes it: called without arguments, it returns a `Backbone`.
"""

# ruff: noqa: E402 - torch is asked for first, so that the error says how to get it
from dsc._extras import need

need("torch", "dsc.backbones")

from dsc._backbones.base import Backbone, Layer
from dsc._backbones.extract import extract
from dsc._backbones.pictures import prepare
from dsc._backbones.registry import backbone_names, load_backbone, load_extractor, tail_of
from dsc._backbones.staged import StagedBackbone
from dsc._backbones.weights import hash_weights
from dsc._schemas.extractor import Extractor, Preprocessing

__all__ = [
    "Backbone",
    "Extractor",
    "Layer",
    "Preprocessing",
    "StagedBackbone",
    "backbone_names",
    "extract",
    "hash_weights",
    "load_backbone",
    "load_extractor",
    "prepare",
    "tail_of",
]
