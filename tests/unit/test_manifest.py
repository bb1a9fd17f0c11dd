"""Model manifests: written and read, with and without the file whose descriptors a model reproduces."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from support.embedders import ThumbnailEmbedder
from tilefix.errors import ModelError
from tilefix.manifest import load_manifest, save_manifest

PLAIN = ThumbnailEmbedder().manifest
QUANTIZED = replace(PLAIN, name="int8", sha256="1" * 64, descriptors_of=PLAIN.sha256)


@pytest.mark.parametrize("manifest", [PLAIN, QUANTIZED])
def test_a_manifest_survives_its_file(manifest: object, tmp_path: Path) -> None:
    save_manifest(manifest, tmp_path / "model.json")  # type: ignore[arg-type]
    assert load_manifest(tmp_path / "model.json") == manifest


def test_older_readers_know_no_descriptors_of(tmp_path: Path) -> None:
    save_manifest(PLAIN, tmp_path / "model.json")
    assert "descriptors_of" not in json.loads((tmp_path / "model.json").read_text())


def test_a_quantized_file_has_the_identity_of_what_it_reproduces() -> None:
    assert QUANTIZED.identity == PLAIN.identity == PLAIN.sha256


@pytest.mark.parametrize("value", ["", "0" * 63, "Z" * 64, 7, ["0" * 64]])
def test_what_is_no_hash_is_refused(value: object, tmp_path: Path) -> None:
    save_manifest(QUANTIZED, tmp_path / "model.json")
    raw = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**raw, "descriptors_of": value}))
    with pytest.raises(ModelError, match=r"model\.json: descriptors_of must be 64"):
        load_manifest(tmp_path / "model.json")
