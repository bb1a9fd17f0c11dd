"""Backbones of the timm library, where it is installed; without it, what is said then."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tilefix.errors import ConfigError
from tilefix_training.network.backbone import Backbone, BackboneConfig
from tilefix_training.network.base import Encoder
from tilefix_training.network.build import build, network_config
from tilefix_training.network.timm_backbone import TimmBackbone, TimmConfig, import_timm
from tilefix_training.network.weights import load_weights

needs_timm = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="timm is not installed: the extra tilefix[timm]"
)


def test_without_timm_the_mend_is_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ConfigError, match=r"needs timm.*tilefix\[timm\]"):
        build(network_config("timm:resnet18"))


def test_timms_weights_are_for_timms_backbones() -> None:
    with pytest.raises(ConfigError, match=r"for a backbone of timm's"):
        load_weights("timm", Backbone(BackboneConfig((1, 1, 1, 1), (8, 8, 8, 8))))


@needs_timm
@pytest.mark.parametrize("name", ["convnext_tiny", "convnext_atto"])
def test_our_convnext_computes_what_timms_does(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    theirs = import_timm().create_model(name, pretrained=False).eval()
    for parameter in theirs.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = load_weights(tmp_path / "weights.pth")
    through = load_weights(tmp_path / "weights.pth", build(network_config(f"timm:{name}")))
    assert isinstance(through, TimmBackbone)
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        wanted = theirs.forward_head(theirs.forward_features(x), pre_logits=True)
        for network in (ours, through):
            found = network.descriptors(*network.encode(x), raw=True)
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@needs_timm
@pytest.mark.parametrize(
    ("name", "side", "exact"),
    [
        ("resnet18", 64, True),
        ("mobilenetv3_small_100", 64, False),  # has a layer between pooling and classifier, which is left out
        ("vit_tiny_patch16_224", 64, False),  # takes its class token, we the mean of the others
        ("swin_tiny_patch4_window7_224", 224, True),  # channels last
    ],
)
def test_any_model_of_timm_gives_cells_and_descriptors(name: str, side: int, exact: bool) -> None:
    config = network_config(f"timm:{name}", picture_px=side, pool_grid=2, neck=True)
    network = build(config).eval()
    assert isinstance(network, TimmBackbone)
    x = torch.randn(2, 3, side, side)
    with torch.no_grad():
        cells, coverage = Encoder(network)(x)
        assert cells.shape == (2, 4, network.feature_dim)
        torch.testing.assert_close(coverage, torch.ones(2, 4))
        torch.testing.assert_close(network(x).norm(dim=1), torch.ones(2))
        network.pool_grid = 1
        plain = network.encode(x)[0][:, 0]
        theirs = network.model(x)
    assert (plain.shape == theirs.shape and torch.allclose(plain, theirs, atol=1e-5)) == exact


@needs_timm
def test_a_model_that_timm_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigError, match="timm cannot make no_such_model"):
        build(TimmConfig("no_such_model"))
    with pytest.raises(ConfigError, match="depths"):
        network_config("timm:resnet18", depths=(1, 1))
    assert replace(TimmConfig("resnet18"), neck=True) == network_config("timm:resnet18", neck=True)
