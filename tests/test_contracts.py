import argparse
import inspect
import typing

import numpy as np
import pytest
import torch

from stellarfm.contracts import CONTRACTS, IMAGE_CENTER, IMAGE_SCALE, Features, PretrainingMethod, standardize


class Nothing(PretrainingMethod):
    def build(self, encoder, *, image_size, total_steps):
        return encoder

    def views(self, images, *, generator):
        return images

    def losses(self, module, views, *, step):
        return {"loss": views.sum()}

    def encoder(self, module):
        return module


@pytest.mark.parametrize("contract", CONTRACTS.values())
def test_contracts_cannot_be_instantiated(contract):
    with pytest.raises(TypeError, match="abstract"):
        contract()


@pytest.mark.parametrize("contract", CONTRACTS.values())
def test_contracts_have_no_open_ended_arguments(contract):
    for name, method in inspect.getmembers(contract, inspect.isfunction):
        if name in vars(contract):
            kinds = {parameter.kind for parameter in inspect.signature(method).parameters.values()}
            assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}


def test_standardized_images_have_zero_mean_and_unit_spread():
    images = np.array([IMAGE_CENTER, IMAGE_CENTER + IMAGE_SCALE])
    np.testing.assert_allclose(standardize(images), [0, 1], atol=1e-12)
    torch.testing.assert_close(standardize(torch.tensor([0.5, 0.75])), torch.tensor([0.0, 1.25]))


def test_features_unpack_as_image_and_patches():
    image, patches = Features(image=torch.zeros(1, 2), patches=torch.zeros(1, 3, 3, 2))
    assert image.ndim == 2
    assert patches.ndim == 4


def test_default_parameter_group_holds_what_is_trained():
    module = torch.nn.Linear(2, 2)
    module.bias.requires_grad_(False)
    (group,) = Nothing().parameter_groups(module)
    assert group["params"] == [module.weight]
    assert (group["lr_scale"], group["decay_scale"]) == (1.0, 1.0)


def test_hooks_are_optional():
    module = torch.nn.Linear(2, 2)
    assert Nothing().before_optimizer(module, step=0) is None
    assert Nothing().after_step(module, step=0) is None


def test_annotations_resolve():
    from stellarfm import contracts

    names = {"torch": torch, "np": np, "argparse": argparse}
    for contract in CONTRACTS.values():
        for _, method in inspect.getmembers(contract, inspect.isfunction):
            if method.__module__ == contracts.__name__:
                typing.get_type_hints(method, globalns={**vars(contracts), **names})
