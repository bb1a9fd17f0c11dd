"""Flight folders: recorded or real flights on disk."""
