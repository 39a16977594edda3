"""Trees as tensors decide as LightGBM's own do."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
import torch

from facetell.networks.trees import Trees


@pytest.mark.parametrize("apart", [1, 2, 3])
def test_values_next_to_each_other_go_the_way_that_lightgbm_sends_them(apart: int) -> None:
    """Its thresholds are float64 between two training values, which may be neighbours among the float32."""
    settings = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    labels = np.repeat([0, 1], 50)
    for start in np.random.default_rng(0).uniform(-9, 9, 20).astype(np.float32):
        other = start
        for _ in range(apart):
            other = np.nextafter(other, np.float32(99))
        features = np.where(labels, other, start)[:, None]
        booster = lightgbm.train(settings, lightgbm.Dataset(features, labels), 3)
        logits = Trees(booster.dump_model()["tree_info"])(torch.from_numpy(features)).numpy()
        np.testing.assert_allclose(logits, np.asarray(booster.predict(features, raw_score=True)), atol=1e-6)
