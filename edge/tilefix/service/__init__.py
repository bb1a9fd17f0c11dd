"""`tilefix run`: the daemon with its clock, threads and configuration."""
