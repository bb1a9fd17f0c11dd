from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tilefix.preprocess import to_input
from tilefix_training.network.backbone import BACKBONES, PUBLISHED, Backbone, BackboneConfig
from tilefix_training.network.base import Encoder, standardise
from tilefix_training.network.export import preprocessing

TINY = BackboneConfig(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))


def test_convnext_tiny_has_timms_names_shapes_and_size() -> None:
    network = Backbone(PUBLISHED)
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
    assert not any(name.startswith("stages.0.downsample") for name in shapes)
    assert set(network.state_dict()) == set(shapes)  # no neck, whose statistics would be buffers


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


def test_as_published_the_descriptor_is_the_layer_norm_of_the_global_average() -> None:
    torch.manual_seed(0)
    config = replace(PUBLISHED, depths=TINY.depths, dims=TINY.dims)
    network = Backbone(config).train()
    x = torch.randn(4, 3, 64, 64)
    mean = network.stages(network.stem(x)).mean(dim=(2, 3))
    wanted = F.layer_norm(mean, (32,), eps=1e-6)
    torch.testing.assert_close(network.descriptors(*network.encode(x), raw=True), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(network(x), F.normalize(wanted, dim=1), atol=1e-5, rtol=1e-5)
    assert (network.stages[0].blocks[0].gamma == 1e-6).all()
    assert float(network.stages[3].blocks[0].mlp.fc1.weight.detach().std()) == pytest.approx(0.02, rel=0.05)


def test_a_network_that_starts_from_nothing_has_kernels_as_wide_as_their_inputs_are_few() -> None:
    torch.manual_seed(0)
    network = Backbone(TINY)
    assert float(network.stages[3].blocks[0].mlp.fc1.weight.detach().std()) == pytest.approx(32**-0.5, rel=0.05)
    assert (network.stages[0].blocks[0].gamma == 0.5).all()


@pytest.mark.parametrize("grid", [1, 2])
def test_parts_of_a_batch_encoded_apart_give_the_descriptors_and_statistics_of_the_whole(grid: int) -> None:
    torch.manual_seed(0)
    whole = Backbone(replace(TINY, pool_grid=grid)).train()
    apart = deepcopy(whole)
    x = torch.randn(6, 3, 64, 64)
    x[1, :, :, :40] = 0
    encoder = Encoder(apart)
    parts = [encoder(part) for part in x.split([2, 4])]
    cells, coverage = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
    assert cells.shape == (6, grid**2, 32)
    assert coverage.shape == (6, grid**2)
    torch.testing.assert_close(apart.descriptors(cells, coverage), whole(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(apart.neck.running_mean, whole.neck.running_mean)
    assert float(whole.neck.running_mean.abs().max()) > 0
    raw = apart.descriptors(cells, coverage, raw=True).detach()
    torch.testing.assert_close(F.normalize(raw, dim=1), apart.descriptors(cells, coverage).detach())
    assert float((raw.norm(dim=1) - 1).abs().min()) > 0.1


def test_coverage_is_the_share_of_ground_in_each_cell_and_scales_its_part_of_the_descriptor() -> None:
    torch.manual_seed(0)
    network = Backbone(replace(TINY, pool_grid=2)).eval()
    x = torch.randn(1, 3, 64, 64)
    x[:, :, :32, :32] = 0  # the first cell
    x[:, :, 32:, 48:] = 0  # half of the last
    with torch.no_grad():
        cells, coverage = network.encode(x)
        raw = network.descriptors(cells, coverage, raw=True).view(1, 4, 32)
        torch.testing.assert_close(coverage, torch.tensor([[0.0, 1.0, 1.0, 0.5]]), atol=1e-4, rtol=0)
        torch.testing.assert_close(raw[0, 3], network.neck(cells[:, 3])[0] * 0.5**0.5, atol=1e-4, rtol=1e-4)
    assert float(raw[0, 0].norm()) < 0.01 * float(raw[0, 1].norm())


def test_the_named_shapes_grow_in_the_order_of_their_names() -> None:
    names = (
        "tilefix-xxs",
        "tilefix-xs",
        "convnext-atto",
        "tilefix-s",
        "convnext-femto",
        "convnext-pico",
        "convnext-nano",
    )
    with torch.device("meta"):
        sizes = {name: sum(p.numel() for p in Backbone(BACKBONES[name]).parameters()) for name in names}
    # as published, in millions with two decimals, less the classifiers
    for name, millions, dim in (("atto", 3.70, 320), ("femto", 5.22, 384), ("pico", 9.05, 512), ("nano", 15.59, 640)):
        assert sizes[f"convnext-{name}"] + 1000 * (dim + 1) == pytest.approx(millions * 1e6, abs=5000)
    assert sizes["tilefix-xxs"] < sizes["tilefix-xs"] < sizes["tilefix-s"] < sizes["convnext-atto"]
