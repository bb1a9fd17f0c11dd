"""Any model of the timm library as the backbone, where timm is installed (the extra `timm`).

timm imports torchvision, and torchvision's wheels hold operators that need CUDA's libraries: beside the CPU build of
torch the import fails for want of two operators' schemas. Where that is so they are declared here; the operators
themselves stay unavailable, and no backbone calls them.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from tilefix.errors import ConfigError
from tilefix_training.network.base import Network

_NMS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # kept alive: a declaration goes with its object


@dataclass(frozen=True)
class TimmConfig:
    """`name`: timm's name of the model. `pretrained`: with timm's weights from the hub. `picture_px`: side of the
    pictures, for models that are made for one size (the transformers) where it is not timm's. The rest: see `Network`.
    """

    name: str
    pool_grid: int = 1
    standardise_input: bool = False
    neck: bool = False
    pretrained: bool = False
    picture_px: int = 0


class TimmBackbone(Network):
    """A timm model without its classifier: its feature map is pooled per cell, then goes through its final norm.

    Where the model has a wider layer between pooling and classifier, that is left out with the classifier.
    Raises `ConfigError` when timm is missing, does not know the model, or cannot fetch its weights.
    """

    def __init__(self, config: TimmConfig) -> None:
        timm = import_timm()
        try:
            published = timm.get_pretrained_cfg(config.name)
            fixed = config.picture_px > 0 and published is not None and published.fixed_input_size
            size = {"img_size": config.picture_px} if fixed else {}
            model = timm.create_model(config.name, pretrained=config.pretrained, num_classes=0, **size)
        except Exception as error:  # timm, the hub's client and each model raise their own kinds
            raise ConfigError(
                f"timm cannot make {config.name}: {error}", mend="see timm.list_models(); weights need a network"
            ) from error
        super().__init__(
            int(model.num_features),
            pool_grid=config.pool_grid,
            standardise_input=config.standardise_input,
            neck=config.neck,
        )
        self.config = config
        self.model = model

    def feature_map(self, x: Tensor) -> Tensor:
        found: Tensor = self.model.forward_features(x)
        if found.ndim == 3:  # a transformer's tokens; those of the class and of the registers come first
            tokens = found[:, self.model.num_prefix_tokens :]
            side = round(tokens.shape[1] ** 0.5)
            return tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)
        return found.permute(0, 3, 1, 2) if self._channels_last else found

    def finish(self, cells: Tensor) -> Tensor:
        flat: Tensor = cells.flatten(0, 1)
        if hasattr(self.model, "fc_norm"):
            flat = self.model.fc_norm(flat)
        elif getattr(self.model, "head_hidden_size", self.feature_dim) == self.feature_dim:
            # each cell as a picture of one pixel: the head's own pooling changes nothing
            shape = (1, 1, self.feature_dim) if self._channels_last else (self.feature_dim, 1, 1)
            flat = self.model.forward_head(flat.view(-1, *shape), pre_logits=True)
        return flat.view_as(cells)

    @property
    def _channels_last(self) -> bool:
        return str(getattr(self.model, "output_fmt", "NCHW")) == "NHWC"


def import_timm() -> Any:
    """The timm module; raises `ConfigError` with the mend when it cannot be had."""
    try:
        _import_torchvision()
        return importlib.import_module("timm")
    except ImportError as error:
        raise ConfigError(
            f"a timm backbone needs timm: {error}", mend="pip install -c constraints.txt 'tilefix[timm]'"
        ) from error


def _import_torchvision() -> None:
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        if not _declared:
            library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
            for operator in ("nms", "qnms"):
                library.define(operator + _NMS)  # type: ignore[no-untyped-call]
            _declared.append(library)
        importlib.import_module("torchvision")


def state_of(network: TimmBackbone, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Published weights under the names that the network's model has; those of the classifier are left out."""
    classifier = cast(dict[str, Any], network.model.pretrained_cfg).get("classifier") or ()
    heads = tuple(f"{name}." for name in ((classifier,) if isinstance(classifier, str) else classifier))
    own = network.model.state_dict()
    found = {}
    for name, value in state.items():
        if not name.startswith(heads):
            # timm's small ConvNeXts have convolutions where others have linear layers
            one_by_one = name in own and own[name].shape == (*value.shape, 1, 1)
            found[f"model.{name}"] = value[..., None, None] if one_by_one else value
    return found
