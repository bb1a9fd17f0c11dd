"""A network by name, and its configuration in JSON's types: what a run's file says, and what a checkpoint carries."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from tilefix.errors import ConfigError, ModelError
from tilefix_training.network.backbone import BACKBONES, Backbone, BackboneConfig
from tilefix_training.network.base import Network
from tilefix_training.network.timm_backbone import TimmBackbone, TimmConfig

NetworkConfig = BackboneConfig | TimmConfig
_KINDS: dict[str, type[Any]] = {"convnext": BackboneConfig, "timm": TimmConfig}
_TIMM = "timm:"


def network_config(name: str, **changes: Any) -> NetworkConfig:
    """The configuration called `name` (one of `BACKBONES`, or "timm:" and a timm model's name), with `changes`.

    Raises `ConfigError` for another name, and for a change that the configuration does not know.
    """
    config: NetworkConfig
    if name.startswith(_TIMM):
        config = TimmConfig(name.removeprefix(_TIMM))
    elif name in BACKBONES:
        config = BACKBONES[name]
    else:
        raise ConfigError(
            f"backbone {name!r} is not known",
            mend=f"give one of {', '.join(BACKBONES)}, or {_TIMM}NAME with timm's name",
        )
    try:
        changed = replace(config, **changes)
    except TypeError as error:
        raise ConfigError(f"backbone {name}: {error}") from error
    if isinstance(changed, BackboneConfig) and len(changed.depths) != len(changed.dims):
        raise ConfigError(f"{len(changed.depths)} depths and {len(changed.dims)} dims", mend="give one of each a stage")
    return changed


def build(config: NetworkConfig) -> Network:
    """The network of a configuration, newly initialised from torch's global generator."""
    return TimmBackbone(config) if isinstance(config, TimmConfig) else Backbone(config)


def config_to_json(config: NetworkConfig) -> dict[str, Any]:
    """The configuration in JSON's types, with its kind."""
    kind = next(name for name, known in _KINDS.items() if isinstance(config, known))
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(config).items()}
    return {"kind": kind, **values}


def config_from_json(raw: dict[str, Any]) -> NetworkConfig:
    """What `config_to_json` gave; raises `ModelError` for anything else."""
    try:
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
        config: NetworkConfig = _KINDS[str(values.pop("kind"))](**values)
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"not the configuration of a network: {error}") from error
    return config
