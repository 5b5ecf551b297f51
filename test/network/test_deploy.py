"""Networks as programs other than PyTorch run them: the same output."""

import pytest
import torch
from torch import nn

from lane_sad_ros.network.deploy import deployable, from_cells, to_cells
from lane_sad_ros.network.enet import ENetSAD

SIZE = (64, 48)


@pytest.fixture(params=[True, False])
def network(request):
    torch.manual_seed(1)
    made = ENetSAD(4, SIZE, existence=request.param).eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
        if isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, -0.5, 0.5)
    return made


@pytest.mark.parametrize("levels", [2, 1000])
def test_a_deployable_network_gives_the_networks_output(network, levels) -> None:
    """Also where all pixels about a place are alike, and at the image's edges."""
    images = torch.randint(-levels, levels, (2, 3, 6, 8)) / levels
    images = images.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    with torch.inference_mode():
        for found, expected in zip(deployable(network)(images), network(images), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_deployable_network_is_a_copy(network) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    deployable(network)
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_cells_are_corners_row_by_row() -> None:
    features = torch.arange(2 * 3 * 4 * 6).reshape(2, 3, 4, 6)
    cells = to_cells(features)
    assert cells.shape == (2, 12, 2, 3)
    for number, (row, column) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        corner = cells[:, 3 * number : 3 * number + 3]
        assert torch.equal(corner, features[..., row::2, column::2])
    assert torch.equal(from_cells(cells), features)
