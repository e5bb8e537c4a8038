"""Which vectors are embeddings, that may come back a little changed.

Those that are said to be, and of the others only long ones of floats whose name leaves no doubt:
any other vector comes back as it is, and dsc says what it would take as an embedding.
"""

from dsc._sources.meaning.names import names_embedding

FEWEST = 64  # floats that a name makes an embedding


def is_embedding(name: str, dtype: str, length: int) -> bool:
    """Tell whether a vector of so many numbers is an embedding by its name."""
    return names_embedding(name) and _is_long(dtype, length)


def embedding_words(name: str, kind: str, dtype: str, length: int) -> tuple[str, ...]:
    """Say what people should know of a vector that they have not said the kind of.

    Parameters
    ----------
    kind
        What it was taken for.
    """
    if kind == "embedding":
        return (
            f"{name}: named like embeddings, which come back with a small loss; --kinds "
            f"{name}=vector, or --exact, keeps the numbers",
        )
    if kind != "vector" or not _is_long(dtype, length):
        return ()
    return (
        f"{name}: its {length} floats are stored exactly; if they are an embedding, --kinds "
        f"{name}=embedding codes them with a small loss, in a few hundredths of their bytes",
    )


def _is_long(dtype: str, length: int) -> bool:
    return dtype.startswith("float") and length >= FEWEST
