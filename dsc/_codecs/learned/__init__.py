"""Learned codecs: integer entropy networks, transforms, and the codecs made of them."""
