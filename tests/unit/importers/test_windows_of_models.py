"""Windows of imported models, of no samples and of dilated transposes, beside PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import loom
import loom.onnx
from loom import tensor

torch: Any = pytest.importorskip("torch")
F: Any = torch.nn.functional

_NONE = {
    "max_pool": lambda x: F.max_pool2d(x, 2, return_indices=True),
    "adaptive_max_pool": lambda x: F.adaptive_max_pool2d(x, 3, return_indices=True),
    "unfold": lambda x: F.unfold(x, 2),
    "grid_sample": lambda x: F.grid_sample(x, torch.zeros(x.shape[0], 2, 2, 2), align_corners=False),
}


@pytest.mark.parametrize("name", _NONE)
def test_windows_of_no_samples(name: str) -> None:
    class Windows(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return _NONE[name](x)

    x = torch.arange(32.0).reshape(2, 1, 4, 4)
    found = loom.from_torch(Windows(), (x,), on="cpu")
    for samples in (x, x[:0]):
        expected = Windows()(samples)
        listed = expected if isinstance(expected, tuple) else [expected]
        for a, b in zip(listed, found.forward(samples.numpy()).values(), strict=True):
            assert (a.numpy() == b).all()
            assert a.shape == b.shape


@pytest.mark.parametrize("samples", [0, 2])
def test_places_of_the_largest_of_no_samples(samples: int) -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 1, 4] x) => (float[n, 1, k] y, int64[n, 1, k] at)'
    model = loom.onnx.load(onnx.parser.parse_model(text + " { y, at = MaxPool <kernel_shape=[2], pads=[1, 0]> (x) }"))
    found = model.run({"x": np.zeros((samples, 1, 4), np.float32)})
    assert found["y"].shape == found["at"].shape == (samples, 1, 4)


@pytest.mark.parametrize(("stride", "dilation", "more", "padding"), [(1, 2, 1, 0), (2, 3, 2, 0), (1, 3, 2, 2)])
def test_a_transposed_convolution_is_longer_by_what_dilation_allows(
    stride: int, dilation: int, more: int, padding: int
) -> None:
    options: dict[str, int] = {"stride": stride, "dilation": dilation, "output_padding": more, "padding": padding}
    draw = np.random.default_rng(0)
    x, w = (draw.integers(-3, 4, shape).astype(np.float32) for shape in ((2, 4, 2), (3, 5, 2)))
    expected = F.conv_transpose1d(*(torch.tensor(a.transpose(0, 2, 1) if a is x else a.T.copy()) for a in (x, w)),
                                  **options)  # fmt: skip
    found = tensor.conv_transpose(tensor.array(x, on="cpu"), tensor.array(w, on="cpu"), **options).numpy()
    assert found.shape == expected.permute(0, 2, 1).shape
    assert (found == expected.permute(0, 2, 1).numpy()).all()
