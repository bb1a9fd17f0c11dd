from __future__ import annotations

import numpy as np
import pytest
import torch

from tilefix.preprocess import to_input
from tilefix_training.network.backbone import Backbone, BackboneConfig, standardise
from tilefix_training.network.export import preprocessing

TINY = BackboneConfig(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))


def test_convnext_tiny_has_timms_names_shapes_and_size() -> None:
    network = Backbone(BackboneConfig(depths=(3, 3, 9, 3), dims=(96, 192, 384, 768)))
    shapes = {name: tuple(value.shape) for name, value in network.named_parameters()}
    assert sum(value.numel() for value in network.parameters()) == 27_820_128  # timm's, without its classifier
    for name, shape in {
        "stem.0.weight": (96, 3, 4, 4),
        "stem.1.bias": (96,),
        "stages.0.blocks.2.conv_dw.weight": (96, 1, 7, 7),
        "stages.1.downsample.0.weight": (96,),
        "stages.1.downsample.1.weight": (192, 96, 2, 2),
        "stages.2.blocks.8.mlp.fc1.weight": (1536, 384),
        "stages.3.blocks.0.mlp.fc2.weight": (768, 3072),
        "stages.3.blocks.0.gamma": (768,),
        "stages.3.blocks.0.norm.weight": (768,),
        "head.norm.weight": (768,),
    }.items():
        assert shapes[name] == shape
    assert not any(name.startswith(("stages.0.downsample", "neck")) for name in shapes)


def test_the_shipped_shape_has_at_most_five_million_parameters() -> None:
    assert sum(value.numel() for value in Backbone(BackboneConfig()).parameters()) < 5_000_000


@pytest.mark.parametrize("grid", [1, 2])
def test_descriptors_have_norm_one_and_the_configured_length(grid: int) -> None:
    config = BackboneConfig(TINY.depths, TINY.dims, pool_grid=grid)
    found = Backbone(config).eval()(torch.randn(3, 3, 64, 64))
    assert found.shape == (3, config.descriptor_dim) == (3, 32 * grid**2)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))


def test_standardised_input_has_mean_0_and_deviation_1_over_the_ground_shown() -> None:
    x = torch.randn(2, 3, 16, 16) * 3 + 1
    valid = torch.ones(2, 1, 16, 16)
    valid[0, :, :, 8:] = 0
    found = standardise(x * valid, valid)
    assert (found[0, :, :, 8:] == 0).all()
    shown = found[0, :, :, :8]
    torch.testing.assert_close(shown.mean(dim=(1, 2)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(shown.std(dim=(1, 2), unbiased=False), torch.ones(3), atol=1e-3, rtol=0)


def test_exposure_and_white_balance_change_a_descriptor_little() -> None:
    torch.manual_seed(0)
    network = Backbone(TINY).eval()
    manifest = preprocessing(64, 32)
    image = np.random.default_rng(0).integers(40, 120, (1, 64, 64, 3), dtype=np.uint8)
    brighter = np.round(image * np.array([1.9, 1.6, 1.3]) + 10).astype(np.uint8)
    other = np.random.default_rng(1).integers(40, 120, (1, 64, 64, 3), dtype=np.uint8)
    with torch.no_grad():
        a, b, c = (network(torch.from_numpy(to_input(x, None, manifest)))[0] for x in (image, brighter, other))
    assert float(a @ b) > 0.999
    assert float(a @ c) < float(a @ b)
