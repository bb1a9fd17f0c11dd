"""How good descriptors are: the only place where identities and positions are read."""
