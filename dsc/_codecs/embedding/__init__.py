"""Embeddings: vectors of floats that stand for a picture, coded with loss.

One uniform step for all components of a vector, relative to the vector's own scale, and integer
tables that are learnt from the data: `codec`, `steps`, `prior`, `learn`.
"""
