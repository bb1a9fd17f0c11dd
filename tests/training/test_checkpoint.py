from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from tilefix.errors import ModelError
from tilefix_training.network import checkpoint as module
from tilefix_training.network.backbone import Backbone, BackboneConfig
from tilefix_training.network.build import build, config_from_json, config_to_json, network_config
from tilefix_training.network.checkpoint import Checkpoint, fill, load_checkpoint, load_network, save_checkpoint

CONFIG = BackboneConfig((1, 1, 2, 1), (8, 16, 24, 32), pool_grid=2, neck=False, layer_scale=0.25)


def made(config: BackboneConfig = CONFIG, epoch: int = 7) -> Checkpoint:
    torch.manual_seed(1)
    tensors = {f"network.{name}": value for name, value in build(config).state_dict().items()}
    tensors["labels.drone"] = torch.tensor([0, -1, 3])
    return Checkpoint(tensors, {"name": "small", "backbone": config_to_json(config)}, epoch)


def test_a_checkpoint_comes_back_with_its_network_and_every_group_of_tensors(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    saved = made()
    save_checkpoint(saved, path)
    loaded = load_checkpoint(path)
    assert (loaded.run, loaded.epoch) == (saved.run, 7)
    assert loaded.group("labels")["drone"].tolist() == [0, -1, 3]
    network = load_network(loaded, path)
    assert network.config == CONFIG
    assert not network.training
    x = torch.randn(2, 3, 64, 64)
    wanted = Backbone(CONFIG).eval()
    wanted.load_state_dict(saved.group("network"))
    torch.testing.assert_close(network(x), wanted(x))
    assert [file.name for file in tmp_path.iterdir()] == ["last.safetensors"]


def test_the_first_checkpoints_said_the_networks_shape_beside_the_runs_values(tmp_path: Path) -> None:
    shape = BackboneConfig(CONFIG.depths, CONFIG.dims, 2)
    tensors = {f"network.{name}": value for name, value in Backbone(shape).state_dict().items()}
    old = Checkpoint(tensors, {"depths": [1, 1, 2, 1], "dims": [8, 16, 24, 32], "pool_grid": 2}, 1)
    assert load_network(old, tmp_path).config == shape


def test_weights_of_another_architecture_are_refused_by_name_and_leave_the_network_as_it_was() -> None:
    network = Backbone(CONFIG)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    deeper = Backbone(BackboneConfig((1, 1, 3, 1), CONFIG.dims)).state_dict()
    with pytest.raises(ModelError, match=r"do not fit the network; 12 not known: neck\.num_batches_tracked"):
        fill(network, deeper, "there")
    with pytest.raises(ModelError, match=r"1 missing: head\.norm\.bias"):
        fill(network, {name: value for name, value in before.items() if name != "head.norm.bias"}, "there")
    wider = Backbone(BackboneConfig(CONFIG.depths, (10, 16, 24, 32), neck=False)).state_dict()
    with pytest.raises(ModelError, match=r"16 of another shape: stem\.0\.weight \(10, 3, 4, 4\) for \(8, 3, 4, 4\)"):
        fill(network, wider, "there")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    save_checkpoint(made(), path)
    path.write_bytes(path.read_bytes()[:-50])
    for wrong in (path, tmp_path / "none.safetensors"):
        with pytest.raises(ModelError, match="not a checkpoint"):
            load_checkpoint(wrong)
    with pytest.raises(ModelError, match="does not say what network"):
        load_network(Checkpoint({}, {"backbone": {"kind": "other"}}, 1), path)
    with pytest.raises(ModelError, match="does not say what network"):
        load_network(Checkpoint({}, {}, 1), path)


@pytest.mark.parametrize("where", ["save_file", "fsync"])
def test_a_full_disk_is_said_and_the_last_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    path = tmp_path / "last.safetensors"
    save_checkpoint(made(epoch=6), path)

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module if where == "save_file" else module.os, where, full)
    with pytest.raises(ModelError, match="epoch 7 cannot be saved: the disk is full"):
        save_checkpoint(made(epoch=7), path)
    assert load_checkpoint(path).epoch == 6
    assert [file.name for file in tmp_path.iterdir()] == ["last.safetensors"]


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="epoch 7 cannot be saved"):
        save_checkpoint(made(), tmp_path / "none" / "last.safetensors")


def test_a_configuration_goes_through_json() -> None:
    for name, changes in (("convnext-tiny", {}), ("tilefix-xs", {"pool_grid": 3}), ("timm:resnet18", {"neck": True})):
        config = network_config(name, **changes)
        assert config_from_json(config_to_json(config)) == config
