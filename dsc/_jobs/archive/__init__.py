"""Making an archive and adding to it, with processes of this machine or a Ray cluster."""
