"""Drawn documents: first weights, three epochs with an uneven last batch, outputs and scores have Python's bits."""

from __future__ import annotations

import numpy as np
import pytest

import loom
from loom.core.errors import NotFinite
from loom.nn.train.optimizers import optimizer_of
from tests.unit.export.library.drawn import draw
from tests.unit.export.library.native import NativeError, NativeNet


def compare(seed: int) -> bool:
    """Compare what a seed draws; tell whether weights moved."""
    drawn = draw(seed)
    net = loom.Network.from_json(drawn.document, on="cpu")
    with NativeNet(drawn.document) as native:
        first = net.digest()
        assert native.digest() == first
        made = native.forward(drawn.x).reshape(len(drawn.x), -1)
        wanted = np.asarray(net.predict(drawn.x)).reshape(len(drawn.x), -1)
        assert made.view(np.uint32).tolist() == wanted.view(np.uint32).tolist()
        told = {**drawn.settings, "optimizer": drawn.optimizer, **drawn.of_optimizer}
        optimizer = optimizer_of(drawn.optimizer, **drawn.of_optimizer)
        if set(net.model.parameters) <= net.model.frozen:
            with pytest.raises(NativeError, match="nothing can be trained"):
                native.train(drawn.x, drawn.y, **told)
            return False
        try:
            loss = net.train(drawn.x, drawn.y, optimizer=optimizer, **drawn.settings).loss[-1]
        except NotFinite:
            with pytest.raises(NativeError, match="NOT_FINITE"):
                native.train(drawn.x, drawn.y, **told)
            return False
        assert native.train(drawn.x, drawn.y, **told) == loss
        assert native.digest() == net.digest()
        return net.digest() != first


@pytest.mark.parametrize("seed", range(24))
def test_a_drawn_document_has_pythons_bits(seed: int) -> None:
    compare(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 500))
def test_many_drawn_documents_have_pythons_bits(seed: int) -> None:
    compare(seed)
