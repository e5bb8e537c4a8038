"""The names of everything that dsc writes into an archive.

What no manifest names and bears one of these names is work under way, or was left by it.
"""

import re

MANIFEST = "dsc.json"
README = "README.md"
CROISSANT = "croissant.json"
CARDS = (README, CROISSANT)  # for people; replaced by every append
WORK = ".dsc"
PLAN = f"{WORK}/plan.json"
LOCK = f"{WORK}/lock"
NEXT = f"{WORK}/next.json"  # the manifest that an append is about to make the archive's
OLD = f"{WORK}/old"  # what an append replaces, as it was
PART = re.compile(r".*\.[0-9a-f]{32}\.part")
OWN = re.compile(
    r"([a-z0-9][a-z0-9_.]*)/[a-z0-9_]+-\1-\d{6,}\.tar(\.idx)?"
    r"|keys/[a-z0-9_]+-keys-\d{6,}\.jsonl"
    r"|codecs/[0-9a-f]{64}\.safetensors"
    r"|shards(\.\d{6,})?\.jsonl"
    rf"|{re.escape(WORK)}/.*"
    rf"|{re.escape(MANIFEST)}|{re.escape(README)}|{re.escape(CROISSANT)}"
)


def stream_path(stream: str, split: str, n: int) -> str:
    """Name a stream's tar: the stream is in the directory and in the file name."""
    return f"{stream}/{split}-{stream}-{n:06d}.tar"


def keys_path(split: str, n: int) -> str:
    """Name a shard's keys file."""
    return f"keys/{split}-keys-{n:06d}.jsonl"


def member_name(first_key: str, stream: str) -> str:
    """Name a pack's tar member."""
    return f"{first_key}.{stream}.pack"


def codec_path(sha256: str) -> str:
    """Name the file of a codec's weights."""
    return f"codecs/{sha256}.safetensors"
