import numpy as np
import pytest
import torch

from stellarfm.fractals.array_namespace import namespace, quantile


def test_namespaces():
    assert namespace(np.zeros(2)) is np
    assert namespace(torch.zeros(2)) is torch


@pytest.mark.parametrize("q", [0.0, 0.3, 0.998, 1.0])
@pytest.mark.parametrize("shape", [(7,), (3, 1000), (2, 2, 501)])
def test_quantiles_of_tensors_are_those_of_numpy(q, shape):
    values = np.random.default_rng(0).normal(size=shape)
    np.testing.assert_allclose(quantile(torch.from_numpy(values), q), np.quantile(values, q, axis=-1))
    np.testing.assert_allclose(quantile(values, q), np.quantile(values, q, axis=-1))
