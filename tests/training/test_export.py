"""The exported network is the trained one, to the last digits that two runtimes share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tilefix.embedders import open_embedder
from tilefix.errors import ModelError
from tilefix.manifest import ModelManifest, sha256_of
from tilefix.preprocess import to_input
from tilefix_training.network.backbone import Backbone, BackboneConfig
from tilefix_training.network.export import export_onnx


def network(grid: int) -> Backbone:
    torch.manual_seed(1)
    made = Backbone(BackboneConfig((1, 1, 2, 1), (8, 16, 24, 32), pool_grid=grid))
    made.neck.running_mean = torch.randn(32) * 0.1
    made.neck.running_var = torch.rand(32) + 0.5
    return made


def export(made: Backbone, folder: Path) -> ModelManifest:
    return export_onnx(
        made, folder, name="small", patch_px=64, patch_m_min=40, patch_m_max=800, trained_on=("nothing (CC0)",)
    )


@pytest.fixture(scope="module", params=[1, 2])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Backbone, Path]:
    """A network and the folder that it was exported to; with the global average, and with a grid."""
    made, folder = network(request.param), tmp_path_factory.mktemp("export") / "new"
    export(made.train(), folder)
    assert made.training
    return made.eval(), folder


def test_onnx_runtime_gives_what_torch_gives(exported: tuple[Backbone, Path]) -> None:
    made, folder = exported
    embedder = open_embedder(folder / "small.onnx")
    rng = np.random.default_rng(0)
    for count in (1, 3, 40):
        patches = rng.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
        masks = rng.random((count, 64, 64)) < 0.7
        masks[:, :, :20] = False
        for mask in (None, masks):
            with torch.no_grad():
                wanted = made(torch.from_numpy(to_input(patches, mask, embedder.manifest))).numpy()
            np.testing.assert_allclose(embedder.embed(patches, mask), wanted, atol=2e-6)


def test_the_manifest_says_what_was_exported_and_no_other_file_is_left(exported: tuple[Backbone, Path]) -> None:
    made, folder = exported
    assert sorted(path.name for path in folder.iterdir()) == ["small.json", "small.onnx"]
    manifest = open_embedder(folder / "small.json").manifest
    assert manifest.sha256 == sha256_of(folder / "small.onnx")
    assert (manifest.descriptor_dim, manifest.patch_px) == (made.config.descriptor_dim, 64)
    assert (manifest.patch_m_min, manifest.patch_m_max) == (40, 800)
    assert manifest.trained_on == ("nothing (CC0)",)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot write the model"):
        export(network(1), tmp_path / "file" / "below")
