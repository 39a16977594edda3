"""Boosted trees as tensors, so that they export to standard ONNX operators like any network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Trees(nn.Module):
    """The sum of LightGBM's trees: every tree walks down one level at a time, all items and trees at once.

    Args:
        trees: `tree_info` of `Booster.dump_model()`; splits are numeric (`<=`), features never missing.

    >>> leaves = {"left_child": {"leaf_value": -1.0}, "right_child": {"leaf_value": 2.0}}
    >>> stump = {"split_feature": 1, "threshold": 0.5, **leaves}
    >>> Trees([{"tree_structure": stump}])(torch.tensor([[9.0, 0.5], [9.0, 0.6]])).tolist()
    [-1.0, 2.0]
    """

    roots: Tensor
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor

    def __init__(self, trees: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        nodes: list[list[float]] = []  # feature, threshold, left, right, value
        roots, depths = zip(*(_add(nodes, tree["tree_structure"]) for tree in trees), strict=True)
        self.depth = max(depths)
        feature, threshold, left, right, value = zip(*nodes, strict=True)
        self.register_buffer("roots", torch.tensor(roots))
        for name, column in (("feature", feature), ("left", left), ("right", right)):
            self.register_buffer(name, torch.tensor(column, dtype=torch.long))
        self.register_buffer("threshold", torch.from_numpy(_rounded_down(np.array(threshold))))
        self.register_buffer("value", torch.tensor(value, dtype=torch.float32))

    def forward(self, features: Tensor) -> Tensor:
        """(N, F) -> (N,) logits."""
        node = self.roots.expand(features.shape[0], -1)
        for _ in range(self.depth):
            goes_left = features.gather(1, self.feature[node]) <= self.threshold[node]
            node = torch.where(goes_left, self.left[node], self.right[node])
        return self.value[node].sum(dim=1)


def _rounded_down(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 that is not above each float64: the same float32 features are `<=` both."""
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def _add(nodes: list[list[float]], tree: Mapping[str, Any]) -> tuple[int, int]:
    """Append a tree's nodes; its root's place and its depth. A leaf leads to itself."""
    place = len(nodes)
    if "leaf_value" in tree:
        nodes.append([0, 0.0, place, place, tree["leaf_value"]])
        return place, 0
    nodes.append([])
    (left, left_depth), (right, right_depth) = (_add(nodes, tree[side]) for side in ("left_child", "right_child"))
    nodes[place] = [tree["split_feature"], tree["threshold"], left, right, 0.0]
    return place, 1 + max(left_depth, right_depth)
