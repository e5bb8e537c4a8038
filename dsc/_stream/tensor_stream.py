"""A stream of tensors, as torch's data loaders know it."""

from torch.utils.data import IterableDataset

from dsc._stream.collate import StreamBatch
from dsc._stream.sample_stream import SampleStream


class TensorStream(SampleStream, IterableDataset[StreamBatch]):
    """A `SampleStream` whose batches hold tensors."""
