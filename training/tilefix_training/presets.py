"""Two sets of values for the method: as its training log was made, and as this project trains.

Only what differs from the defaults of `config.py` stands here. "published": arXiv 2502.11381 with the weights of the
code version that wrote the official training log (merged over its duplicated branch).

What "published" leaves out, as it would change nothing or should not be done: going back, when labels are first
transferred, to the epoch with the best test score (test labels would choose); the term of mutual information (always 0
there) and that of consistency (over the wrong axis, with a gradient of about 3e-4); half precision in extraction.
"""

from __future__ import annotations

from typing import Any

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "published": {
        "run": {"epochs": 24},  # as many as the training log shows
        "network": {"backbone": "convnext-tiny"},
        "patches": {"patch_px": 384, "stored_px": 512, "augment": "published"},
        "drone": {"eps": 0.4},
        "satellite": {"eps": 0.3, "copies": 50, "augmented": 2},
        "cluster": {"flip": True, "centroids": "raw"},
        "contrast": {"weight": 2.0},
        "dhml": {"memory": "epoch", "until_epoch": 20},
        "icel": {
            "raw_update": True,
            "alternate": True,
            "intra": 1.5,
            "drone_to_satellite": 0.75,
            "satellite_to_drone": 0.275,
            "late_intra": 0.15,
            "late_drone_to_satellite": 0.15,
            "late_satellite_to_drone": 0.055,
        },
        "ple": {"transfer": "image_vote", "balance": False},
        "optimiser": {
            "kind": "sgd",
            "weight_decay": 5e-4,
            "decay_all": True,
            "schedule": "step",
            "clip": 0.0,
            "iterations": 400,
            "least_images": 2,
        },
    },
    "tilefix": {
        "satellite": {"labels": "instance", "augmented": 2},
        "contrast": {"momentum_first": 0.8, "momentum": 0.8},
        "icel": {"cross_epoch": 1, "consistency": 0.2, "information": 0.2},
        "ple": {"epoch": 2, "confidence": 0.0},
        "optimiser": {"bfloat16": True},
    },
}
