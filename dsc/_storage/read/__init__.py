"""An archive as it is read: manifest, packs, single samples, and what damage leaves of them."""
