"""Weights from every kind of source give the network that they were taken from."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tilefix.embedders import open_embedder
from tilefix.errors import ConfigError, ModelError
from tilefix.preprocess import to_input
from tilefix_training.network.backbone import PUBLISHED, Backbone, BackboneConfig
from tilefix_training.network.build import config_to_json, network_config
from tilefix_training.network.checkpoint import Checkpoint, save_checkpoint
from tilefix_training.network.export import export_onnx
from tilefix_training.network.weights import load_weights

SMALL = BackboneConfig((1, 1, 2, 1), (8, 16, 24, 32))
AS_PUBLISHED = replace(PUBLISHED, depths=SMALL.depths, dims=SMALL.dims)


def network(config: BackboneConfig) -> Backbone:
    """One whose every tensor differs from those of a new network."""
    torch.manual_seed(3)
    made = Backbone(config).eval()
    for name, value in made.state_dict().items():
        if value.is_floating_point():
            value += 0.1 * torch.rand_like(value) if "var" in name else 0.1 * torch.randn_like(value)
    return made


def metas_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state as Meta's files have it, with the classifier."""
    found = {}
    for name, value in state.items():
        new = re.sub(r"^stages\.(\d)\.downsample\.(\d)", r"downsample_layers.\1.\2", name)
        new = new.replace("stem.", "downsample_layers.0.").replace("head.norm.", "norm.").replace(".blocks.", ".")
        new = new.replace("conv_dw", "dwconv").replace("mlp.fc1", "pwconv1").replace("mlp.fc2", "pwconv2")
        found[new] = value
    return {**found, "head.weight": torch.zeros(1000, 32), "head.bias": torch.zeros(1000)}


def same(found: torch.nn.Module, made: torch.nn.Module, atol: float = 0.0) -> None:
    assert not found.training
    x = torch.randn(3, 3, 64, 64)
    x[0, :, :20] = 0
    with torch.no_grad():
        torch.testing.assert_close(found(x), made(x), atol=atol, rtol=0)


def test_meta_names_cover_every_tensor_of_the_published_network() -> None:
    with torch.device("meta"):
        names = set(metas_names(Backbone(PUBLISHED).state_dict()))
    # facebookresearch/ConvNeXt, convnext_tiny: 4 of the stem, 12 between the stages, 9 in each of 18 blocks,
    # 2 of the norm, 2 of the classifier
    assert len(names) == 4 + 12 + 9 * 18 + 2 + 2
    for name in (
        "downsample_layers.0.0.weight",
        "downsample_layers.3.1.bias",
        "stages.2.8.pwconv2.bias",
        "norm.weight",
    ):
        assert name in names
    assert {"stages.0.0.gamma", "stages.3.2.dwconv.weight", "stages.1.0.norm.bias"} <= names


@pytest.mark.parametrize("kind", ["timm.safetensors", "timm.pth", "meta.pth", "convolutions.safetensors"])
def test_published_weights_load_under_timms_and_metas_names(tmp_path: Path, kind: str) -> None:
    made = network(AS_PUBLISHED)
    state = dict(made.state_dict())
    path = tmp_path / kind
    if kind == "meta.pth":
        torch.save({"model": metas_names(state)}, path)
    else:
        state |= {"head.fc.weight": torch.zeros(1000, 32), "head.fc.bias": torch.zeros(1000)}
        if kind.startswith("convolutions"):  # as in timm's small ones
            state = {
                n: v[..., None, None] if re.search("fc[12].weight", n) and "mlp" in n else v for n, v in state.items()
            }
        torch.save(state, path) if kind.endswith(".pth") else save_file(state, path)
    found = load_weights(path)
    assert found.config == AS_PUBLISHED
    same(found, made)


def test_published_weights_fill_a_network_with_other_surroundings(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    made = network(AS_PUBLISHED)
    save_file(made.state_dict(), path)
    own = Backbone(replace(SMALL, pool_grid=2))
    found = load_weights(path, own)
    assert found is own
    assert torch.equal(own.stages[2].blocks[1].mlp.fc1.weight, made.stages[2].blocks[1].mlp.fc1.weight)
    assert torch.equal(own.neck.running_mean, torch.zeros(32))


def test_a_checkpoint_is_a_source_and_its_neck_becomes_part_of_the_norm_where_there_is_none(tmp_path: Path) -> None:
    made = network(SMALL)
    path = tmp_path / "last.safetensors"
    tensors = {f"network.{name}": value for name, value in made.state_dict().items()}
    save_checkpoint(Checkpoint(tensors, {"backbone": config_to_json(SMALL)}, 3), path)
    same(load_weights(str(path)), made)
    without = load_weights(path, Backbone(replace(SMALL, neck=False)))
    pictures = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(without(pictures), made(pictures), atol=1e-6)
    assert not torch.equal(without.head.norm.weight, made.head.norm.weight)


def test_an_exported_model_computes_what_its_network_does_and_gives_it_back(tmp_path: Path) -> None:
    config = AS_PUBLISHED
    made = network(config)
    export_onnx(made, tmp_path, name="small", patch_px=64, patch_m_min=40, patch_m_max=800, trained_on=())
    embedder = open_embedder(tmp_path / "small.onnx")
    patches = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        wanted = made(torch.from_numpy(to_input(patches, None, embedder.manifest))).numpy()
    np.testing.assert_allclose(embedder.embed(patches, None), wanted, atol=2e-6)
    for file in ("small.onnx", "small.json"):
        found = load_weights(tmp_path / file)
        # what a network starts from is not in the file
        assert replace(found.config, layer_scale=config.layer_scale, init=config.init) == config
        same(found, made, atol=1e-6)
    assert load_weights(tmp_path / "small.onnx", Backbone(config)).config == config
    with pytest.raises(ModelError, match=r"9 missing: stages\.2\.blocks\.2"):
        load_weights(tmp_path / "small.onnx", Backbone(replace(config, depths=(1, 1, 3, 1), neck=True)))


def test_the_shipped_model_comes_back_as_the_runtime_computes_it() -> None:
    embedder = open_embedder("default")
    found = load_weights("default")
    manifest = embedder.manifest
    assert found.descriptor_dim == manifest.descriptor_dim
    assert isinstance(found, Backbone)
    assert found.config.neck
    assert found.config.standardise_input
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (4, manifest.patch_px, manifest.patch_px, 3), dtype=np.uint8)
    masks = np.ones(patches.shape[:3], np.bool_)
    masks[0, :20] = False
    with torch.no_grad():
        values = found(torch.from_numpy(to_input(patches, masks, manifest))).numpy()
    np.testing.assert_allclose(values, embedder.embed(patches, masks), atol=1e-4)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    state = network(AS_PUBLISHED).state_dict()
    path = tmp_path / "weights.safetensors"
    save_file({name: value for name, value in state.items() if name != "stem.0.bias"}, path)
    with pytest.raises(ModelError, match=r"1 missing: stem\.0\.bias"):
        load_weights(path)
    save_file({**state, "extra.weight": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=r"1 not known: extra\.weight"):
        load_weights(path)
    save_file({"layer1.0.conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=r"not the weights of a ConvNeXt.*layer1"):
        load_weights(path)
    save_file(state, path)
    with pytest.raises(ModelError, match="of another shape"):
        load_weights(path, Backbone(BackboneConfig((1, 1, 2, 1), (16, 16, 24, 32))))


def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"model": {"stem.0.weight": Path("anything but a tensor")}}, tmp_path / "pickle.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "text.safetensors").write_text("no weights")
    for name in ("pickle.pth", "text.pth", "text.safetensors", "none.pth", "none.safetensors"):
        with pytest.raises(ModelError, match="weights cannot be read"):
            load_weights(tmp_path / name)
    with pytest.raises(ModelError, match="no table of tensors"):
        load_weights(tmp_path / "list.pth")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match=r"keep the \.json beside"):
        load_weights(tmp_path / "text.onnx")


def test_the_hub_is_asked_for_the_published_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = network(AS_PUBLISHED)
    save_file(made.state_dict(), tmp_path / "model.safetensors")
    asked = []

    def download(repository: str, file: str) -> str:
        asked.append((repository, file))
        return str(tmp_path / file)

    hub = ModuleType("huggingface_hub")
    hub.hf_hub_download = download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    same(load_weights("imagenet"), made)
    same(load_weights("hub:someone/something"), made)
    assert asked == [
        ("timm/convnext_tiny.in12k_ft_in1k", "model.safetensors"),
        ("someone/something", "model.safetensors"),
    ]


def test_without_the_hub_the_mend_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(repository: str, file: str) -> str:
        raise RuntimeError("offline\nand more")

    hub = ModuleType("huggingface_hub")
    hub.hf_hub_download = download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(ConfigError, match=r"cannot be had from the hub: offline \(fetch its model\.safetensors"):
        load_weights("imagenet")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match="need huggingface_hub"):
        load_weights("imagenet")


def test_a_network_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"backbone 'other' is not known .*convnext-tiny"):
        network_config("other")
    with pytest.raises(ConfigError, match="wings"):
        network_config("tilefix-s", wings=2)
    with pytest.raises(ConfigError, match="3 depths and 4 dims"):
        network_config("tilefix-s", depths=(1, 1, 1))
    assert network_config("tilefix-s", depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), pool_grid=1) == SMALL
