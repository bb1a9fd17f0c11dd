"""TOML files read into dataclasses, with file and line in every refusal."""
