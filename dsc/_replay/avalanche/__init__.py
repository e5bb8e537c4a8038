"""dsc's buffer as a storage policy of Avalanche."""
