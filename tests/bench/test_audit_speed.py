"""What audits cost in forwards, and that the networks are what they are said to be."""

import pytest
import torch

from bench.audit_speed import count_forwards, make_networks


def test_the_networks_have_twenty_million_parameters_and_outputs_of_256() -> None:
    with torch.device("meta"):
        networks = make_networks()
    for network, example in networks.values():
        assert 15e6 < sum(one.numel() for one in network.parameters()) < 21e6
        with torch.no_grad():
            assert network(example.to("meta")).shape == (1, 3, 256, 256)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["decoder", "U-Net", "upscaler"])
def test_an_audit_takes_about_a_dozen_forwards_at_most(name: str) -> None:
    network, example = make_networks(is_small=True)[name]
    assert count_forwards(network, example) < 12.5
