"""The torch form of the network: generated from the graph, equal to it, or refused."""

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from actors.denoiser import Model, ModelError, ModelName, load_model
from actors.denoiser.graph import NEXT_PREFIX, STATE_PREFIX, Network
from actors.denoiser.torch_network import TorchNetwork
from actors.models import MODELS

EXACT = 1e-5
"""What we promise. 5e-6 was measured: both round."""
LSNR_ROUNDING_DB = 5e-4
"""Out of a range of 50 dB. 1e-4 dB was measured with `dfn3_ll`, 1e-5 dB with the others."""


@pytest.mark.parametrize("name", MODELS)
def test_the_network_is_the_one_that_onnxruntime_runs(name: ModelName) -> None:
    """Over 30 frames of three streams, answers and states equal onnxruntime's to rounding."""
    model, dice = load_model(name), np.random.default_rng(1)
    session = model.session(1)
    network = TorchNetwork(model.networks[1], torch.device("cpu"))
    ours = {state: torch.zeros(3, *shape) for state, shape in network.state_shapes.items()}
    theirs = {
        tensor.name: np.zeros([3 if dim == "B" else dim for dim in tensor.shape], np.float32)
        for tensor in session.get_inputs()
        if tensor.name.startswith(STATE_PREFIX)
    }
    names = [output.name for output in session.get_outputs()]
    for _ in range(30):
        features: dict[str, NDArray[np.float32]] = {
            "feat_erb": dice.normal(0, 1, (3, 1, 1, 32)).astype(np.float32),
            "feat_spec": dice.normal(0, 1, (3, 2, 1, 96)).astype(np.float32),
        }
        expected = dict(zip(names, session.run(names, {**features, **theirs}), strict=True))
        tensors = {key: torch.tensor(array) for key, array in features.items()}
        answer, ours = network(tensors, ours)
        theirs = {state: expected.pop(NEXT_PREFIX + state[len(STATE_PREFIX) :]) for state in theirs}
        assert answer.keys() == expected.keys()
        for key, array in expected.items():
            bound = LSNR_ROUNDING_DB if key == "lsnr" else EXACT
            np.testing.assert_allclose(answer[key].numpy(), array, atol=bound, rtol=0)
        for state, array in theirs.items():
            our = ours[state.removeprefix(STATE_PREFIX)].numpy()
            bound = EXACT * max(1, np.abs(array).max())
            np.testing.assert_allclose(our.reshape(array.shape), array, atol=bound, rtol=0)


def _altered(network: Network, op: str, *, to: str | None = None, **attributes: int) -> Network:
    """Change the first operation of a kind to another, or add attributes to it."""
    model = onnx.load_from_string(network.graph)
    node = next(node for node in model.graph.node if node.op_type == op)
    node.op_type = to or op
    node.attribute.extend(onnx.helper.make_attribute(key, n) for key, n in attributes.items())
    return Network(model.SerializeToString(), network.weights)


def test_an_operation_without_a_torch_form_is_refused(model: Model) -> None:
    """An operation or attribute that we have no torch form for is named, not guessed."""
    cpu = torch.device("cpu")
    with pytest.raises(ModelError, match="knows no operation Elu"):
        TorchNetwork(_altered(model.networks[1], "Relu", to="Elu"), cpu)
    with pytest.raises(ModelError, match="knows no such Gemm.*transA"):
        TorchNetwork(_altered(model.networks[1], "Gemm", transA=1), cpu)
