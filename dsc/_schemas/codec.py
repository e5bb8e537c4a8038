"""How an archive names a codec: registry id, JSON config, and the hash of its weights."""

from typing import Any

from pydantic import Field

from dsc._schemas.base import Schema


class CodecRecord(Schema):
    """A codec as an archive remembers it.

    Attributes
    ----------
    id
        Registry name, e.g. ``shared-latent`` or ``jxl``.
    config
        JSON that, with the weights, gives the codec back.
    weights_sha256
        Hash and file name (``codecs/<sha256>.safetensors``) of the weights and tables; None for
        codecs that have none.
    streams
        Names of the streams this codec writes.
    """

    id: str
    config: dict[str, Any] = Field(default_factory=dict)
    weights_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    streams: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name of the codec for people: of one over another, both."""
        base = self.config.get("base")
        below = base.get("id") if isinstance(base, dict) else None
        return f"{below} + {self.id}" if below else self.id
