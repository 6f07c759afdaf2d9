"""Modules that ask what their arguments are, drawn sizes and ties: what a stranger found wrong."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from unit.pytorch import odd_modules, torch_modules

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def _numbers(x):
    return x.detach().numpy()


def test_one_tensor_given_twice_is_two_arguments():
    """Attention asks whether its key is its query: an example of self-attention must not forget the others."""
    torch.manual_seed(0)
    x = torch.randn(2, 5, 6)
    module = torch.nn.MultiheadAttention(6, 2, batch_first=True).eval()
    model = loom.from_torch(module, (x, x, x), training=False)
    q, k, v = torch.randn(3, 2, 5, 6)
    assert np.allclose(model(q, k, v)[0], _numbers(module(q, k, v)[0]), atol=1e-6)
    assert np.allclose(model(q, q, q)[0], _numbers(module(q, q, q)[0]), atol=1e-6)


def test_forward_of_any_arguments_is_called_as_in_the_example():
    class Around(torch.nn.Module):
        def forward(self, x, *others):
            return x + others[0] * 2

    x = torch.randn(2, 3)
    model = loom.from_torch(Around(), (x, x + 1), training=False)
    assert np.array_equal(model(x, x * 3), _numbers(x + x * 3 * 2))
    with pytest.raises(ArgumentError, match="too many arguments"):
        model(x, x, x)


@pytest.mark.parametrize("factor", [0.3, 0.6, 0.7, 1.7, 2.3])
def test_nearest_places_of_drawn_factors_are_those_of_torch(factor):
    x = torch.arange(36.0).reshape(1, 1, 4, 9)
    module = odd_modules.Call(lambda x: functional.interpolate(x, scale_factor=(1.0, factor), mode="nearest"))
    assert np.array_equal(loom.from_torch(module, x, training=False)(x), _numbers(module(x)))


def test_the_sign_of_nan_is_zero():
    x = torch.tensor([[1.0, float("nan"), float("-inf"), -0.0]])
    assert np.array_equal(loom.from_torch(odd_modules.Call(torch.sign), x, training=False)(x), _numbers(torch.sign(x)))
    x, norm = (
        torch.randn(2, 3),
        odd_modules.Call(lambda x: torch.linalg.norm(x, "nuc", dim=(0, 1))),
    )  # it was a ValueError
    assert np.allclose(loom.from_torch(norm, x, dynamic=False, training=False)(x), _numbers(norm(x)), atol=1e-5)


def test_gradients_of_embeddings_are_divided_by_how_often_rows_are_asked_for():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Embedding(5, 3, scale_grad_by_freq=True), torch.nn.Flatten())
    ids, y = torch.tensor([[0, 0, 3], [0, 1, 3]]), torch.randn(2, 9)
    model = loom.from_torch(module, ids)
    functional.mse_loss(module(ids), y).backward()
    wanted = _numbers(module[0].weight - module[0].weight.grad)
    model.train_batch(ids.numpy(), y.numpy(), loss="mse", optimizer="sgd", learning_rate=1.0)
    assert np.allclose(model.state_dict()["0.weight"], wanted, atol=1e-6)


def test_weights_go_into_no_other_module():
    model = loom.from_torch(torch.nn.Linear(6, 3), torch.zeros(2, 6), training=False)
    with pytest.raises(ArgumentError, match="size mismatch"):
        model.copy_into(torch.nn.Linear(6, 4))


def _by_rows(least, modulus=None):
    return odd_modules.Call(lambda x: x * 2 if (x.shape[0] % modulus == 0 if modulus else x.shape[0] >= least) else x)


def test_lengths_outside_of_their_ranges_are_refused(tmp_path):
    x, dim = torch.ones(6, 3), torch.export.Dim
    for free in (dim.AUTO, dim("b", min=4)):
        model = loom.from_torch(_by_rows(4), x, dynamic={"x": {0: free}}, training=False)
        assert np.array_equal(model(torch.ones(9, 3)), np.full((9, 3), 2, "f4"))
        model.save(tmp_path / "m.safetensors")
        for each in (model, loom.pytorch.load(tmp_path / "m.safetensors")):
            with pytest.raises(ShapeError, match="4 or more"):
                each(torch.ones(3, 3))
    model = loom.from_torch(odd_modules.Call(torch.relu), x, dynamic={"x": {0: dim("b", max=7)}}, training=False)
    with pytest.raises(ShapeError, match="2 to 7"):
        model(torch.ones(9, 3))
    with pytest.raises(ArgumentError, match="no range tells"):
        loom.from_torch(_by_rows(0, 2), x, dynamic={"x": {0: dim.AUTO}}, training=False)


_BRANCHES = {
    "another factor for one": lambda m, x: x * (2 if x.shape[0] == 1 else 3),
    "another length for one": lambda m, x: x.sum(0).expand(3 if x.shape[0] == 1 else x.shape[0], 3),
    "another constant for one": lambda m, x: x * torch.tensor(5.0 if x.shape[0] == 1 else 2.0) * m.weight,
    "another for none": lambda m, x: x.sum(0) + (7 if x.shape[0] == 0 else x.shape[0]),
    "not for one": lambda m, x: x / (x.shape[0] - 1) if x.shape[0] > 1 else x,
    "the greater": lambda m, x: x * max(x.shape[0], 2),
    "even and odd": lambda m, x: x * (2 if x.shape[0] % 2 == 0 else 3),
    "squeezed": lambda m, x: x.squeeze(),
    "padded": lambda m, x: functional.pad(x, (0, 0, 0, 1 if x.shape[0] == 1 else 0)).sum(0),
    "by rest": lambda m, x: x.reshape(-1, 3) * m.weight + (x.shape[0] // 2),
    "in training": lambda m, x: x * (x.shape[0] if m.training and x.shape[0] == 1 else 4) * m.weight,
}


_FEW = ("another factor for one", "another length for one", "another constant for one", "in training")


@pytest.mark.parametrize("name", [n if n in _FEW else pytest.param(n, marks=pytest.mark.slow) for n in _BRANCHES])
def test_every_length_is_right_or_refused(name, tmp_path):
    module = odd_modules.Of(_BRANCHES[name])
    model = loom.from_torch(module, torch.ones(4, 3))
    model.save(tmp_path / "m.safetensors")
    answered, refusals = 0, []
    for each in (model, loom.pytorch.load(tmp_path / "m.safetensors")):
        for n, training in [(n, False) for n in range(6)] + [(1, True), (3, True)]:
            x = torch.randn(n, 3)
            wanted = _numbers(module.train(training)(x))
            given = loom.tensor.array(x.numpy())
            try:
                made = each.apply(given, training=training).numpy() if training else each(x)
            except ShapeError as error:
                refusals.append(str(error))
                continue
            answered += 1
            assert made.shape == wanted.shape
            assert np.allclose(made, wanted, equal_nan=True), (n, training)
    is_free = model.inputs[0].shape[0] == "batch"
    assert answered >= (8 if is_free else 2)
    assert not is_free or all("dynamic=False" in told or "Let batches have" in told for told in refusals)


def test_what_depends_on_two_lengths_is_right_or_refused():
    def function(m, x, y):
        return x * 2 + y if x.shape[0] == 1 and y.shape[1] == 1 else x - y if x.shape[1] == 1 else x + y

    module, axes = odd_modules.Of(function), {0: "batch", 1: "time"}
    model = loom.from_torch(module, (torch.ones(4, 7),) * 2, dynamic={"x": axes, "y": axes}, training=False)
    answered = 0
    for n, t in [(n, t) for n in range(4) for t in range(4)]:
        x, y = torch.randn(2, n, t)
        try:
            found = model(x, y)
        except ShapeError:
            assert 0 in (n, t)
            continue
        answered += 1
        assert np.array_equal(found, _numbers(module(x, y)))
    assert answered >= 13  # all but three of none


def test_conditions_on_two_lengths_together_are_refused():
    """PyTorch tells of them as of no violated constraint: the graph of 4 x 7 was taken for 2 x 2."""
    module = odd_modules.Of(lambda m, x: x * 2 if x.shape[0] * x.shape[1] > 9 else x)
    with pytest.raises(ArgumentError, match="no range tells"):
        loom.from_torch(module, torch.ones(4, 7), dynamic={"x": {0: "n", 1: "m"}}, training=False)
    assert loom.from_torch(module, torch.ones(4, 7), training=False).inputs[0].shape == ("batch", 7)


def test_lengths_that_are_made_of_others_are_refused():
    twice = 2 * torch.export.Dim("half")
    with pytest.raises(ArgumentError, match="computed of another"):
        loom.from_torch(odd_modules.Call(torch.relu), torch.ones(4, 3), dynamic={"x": {0: twice}}, training=False)


def test_a_batch_of_one_that_gives_another_rank_is_refused():
    x = torch.ones(4, 3)
    model = loom.from_torch(odd_modules.Call(torch.squeeze), x, training=False)
    assert np.array_equal(model(x), x.numpy())
    assert "something else" in model.notes[0]
    with pytest.raises(ShapeError, match="dynamic=False"):
        model(x[:1])
    fixed = loom.from_torch(odd_modules.Call(torch.squeeze), x[:1], dynamic=False, training=False)
    assert np.array_equal(fixed(x[:1]), _numbers(torch.squeeze(x[:1])))


def test_constants_of_training_and_of_evaluation_are_two():
    module = odd_modules.Of(lambda m, x: x * m.weight * torch.tensor(2.0 if m.training else 3.0))
    model, x = loom.from_torch(module, torch.ones(2, 3)), torch.randn(2, 3)
    assert np.array_equal(model(x), _numbers(module.eval()(x)))
    given = loom.tensor.array(x.numpy())
    assert np.array_equal(model.apply(given, training=True).numpy(), _numbers(module.train()(x)))


def test_buffers_that_training_alone_writes_are_state():
    def function(m, x):
        if m.training:
            m.steps.add_(1.0)
        return x * m.weight + m.steps

    model, x = loom.from_torch(odd_modules.Of(function), torch.zeros(2, 3)), np.zeros((2, 3), "f4")
    for _ in range(3):
        model.train_batch(x, x, loss="mse", optimizer="sgd", learning_rate=0.0)
    assert np.array_equal(model(x), np.full((2, 3), 3.0, "f4"))


@pytest.mark.parametrize("name", ["perceptron", "lenet", "transformer block"])
def test_a_batch_of_one_of_ordinary_modules(name):
    x, _ = torch_modules.samples(name, 4)
    module = torch_modules.MODULES[name]().eval()
    found = loom.from_torch(module, x, training=False)(x[:1])
    assert np.allclose(found, _numbers(module(torch.from_numpy(x[:1]))), atol=1e-5)


def test_bf16_of_torch_is_taken_and_given_back(tmp_path):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).bfloat16()
    x = torch.randn(5, 4).bfloat16()
    model = loom.from_torch(module, x)
    wanted = module(x).detach().float().numpy()
    assert np.allclose(np.asarray(model(x)).astype("f4"), wanted, rtol=2e-2, atol=1e-2)
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    before = model.digest()
    model.train_batch(x, torch.zeros(5, 3).bfloat16(), loss="mse", learning_rate=0.5)
    assert model.digest() != before
    for source in (module.state_dict(), str(tmp_path / "weights.pt")):
        model.load_state_dict(source)
        assert model.digest() == before
    other = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).bfloat16()
    model.copy_into(other)
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), module.parameters(), strict=True))


def test_packed_sequences_are_refused_by_name():
    class Packed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.GRU(4, 5, batch_first=True)

        def forward(self, x, lengths):
            packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            return self.layer(packed)[1]

    x, lengths = torch.randn(2, 6, 4), torch.tensor([6, 3])
    with pytest.raises(ArgumentError, match="packed sequences"):
        loom.from_torch(Packed(), (x, lengths))
    with pytest.raises(ArgumentError, match="packed sequences"):
        loom.from_torch(Packed().layer, torch.nn.utils.rnn.pack_sequence([x[0], x[1, :3]]))


def test_all_operators_that_are_not_done_are_told_at_once():
    def function(x):
        first = torch.linalg.qr(x, mode="r")[1]
        return torch.linalg.eigh(torch.complex(first, first))[0], torch.linalg.pinv(first, hermitian=True)

    with pytest.raises(ArgumentError) as told:
        loom.from_torch(odd_modules.Call(function), torch.randn(3, 3), dynamic=False)
    names = set(str(told.value.got).split(", "))
    assert {"aten.linalg_qr.default", "aten.linalg_eigh.default"} <= names
    assert any(name.startswith("aten.linalg_pinv") for name in names)
    with pytest.raises(ArgumentError, match=r"aten.histc.default, prims.bessel_j0.default"):
        loom.from_torch(
            odd_modules.Call(lambda x: (torch.special.bessel_j0(x), x.histc(3))), torch.randn(3, 3), dynamic=False
        )


def test_what_has_no_derivative_is_told_when_it_is_imported():
    def function(m, x):
        return torch.linalg.qr(x * m.weight, mode="complete")[0]

    model, x = loom.from_torch(odd_modules.Of(function), torch.randn(2, 4, 3)), np.ones((2, 4, 3), "f4")
    assert model(x).shape == (2, 4, 4)
    assert model.notes[-1].startswith("untrained: ")
    with pytest.raises(ArgumentError, match="cannot be trained"):
        model.train_batch(x, np.ones((2, 4, 4), "f4"), loss="mse")


def test_a_model_that_came_through_onnx_is_called_as_the_module_is():
    class ByElements(torch.nn.Module):
        def forward(self, x, y):
            return torch.unique(x, sorted=True), x + y

    x, y = torch.tensor([3.0, 1.0, 3.0]), torch.ones(3)
    with pytest.warns(UserWarning, match="through ONNX"):
        model = loom.from_torch(ByElements(), (x, y), dynamic=False)
    for made in (model(x, y), model(x, y=y.numpy()), model(y=y, x=x)):
        assert np.array_equal(made[1], _numbers(x + y))
    with pytest.raises(ArgumentError, match="twice"):
        model(x, y, x=x)


def test_files_of_the_first_format_are_read_for_lengths_of_two_and_more(tmp_path):
    from loom.formats.stored_weights import read_tensors, write_stored
    from loom.pytorch.files import MODEL

    loom.from_torch(torch.nn.Linear(3, 2), torch.ones(4, 3)).save(tmp_path / "m.safetensors")
    arrays, told = read_tensors((tmp_path / "m.safetensors").read_bytes(), "a test")
    document = json.loads(told[MODEL])
    graph, training = (document.pop(kind)[0]["graph"] for kind in ("evaluation", "training"))
    document |= {"format": "loom-torch/1", "graph": graph, "training": training, "ranges": {"batch": [0, None]}}
    (tmp_path / "old.safetensors").write_bytes(write_stored(arrays, {}, {MODEL: json.dumps(document)}).whole())
    old, new = (loom.pytorch.load(tmp_path / f"{name}.safetensors") for name in ("old", "m"))
    x = np.ones((3, 3), "f4")
    assert np.array_equal(old(x), new(x))
    assert new(x[:1]).shape == (1, 2)
    with pytest.raises(ShapeError, match="2 or more"):
        old(x[:1])


def _linear_numbers(module, x):
    return _numbers(functional.linear(x, module.lin.weight, module.lin.bias))


def test_a_number_that_is_left_out_is_forwards_own_default_or_refused(tmp_path):
    class Scaled(torch.nn.Module):
        def forward(self, x, scale=1.0, *, shift=None):
            return x * scale if shift is None else x + shift

    x = torch.ones(4, 3)
    model = loom.from_torch(Scaled(), (x, 2.0), training=False)
    model.save(tmp_path / "m.safetensors")
    for each in (model, loom.pytorch.load(tmp_path / "m.safetensors")):
        assert np.array_equal(each(x, scale=2.0), _numbers(x * 2))
        with pytest.raises(ArgumentError, match="Pass scale=2"):
            each(x)  # the module multiplies by 1
    assert np.array_equal(loom.from_torch(Scaled(), (x, 1.0), training=False)(x), _numbers(x))
    model = loom.from_torch(Scaled(), {"x": x, "scale": float("nan")}, training=False)
    assert np.isnan(model(x, float("nan"))).all()
    assert np.isnan(model(x, np.float64("nan"))).all()
    with pytest.raises(DTypeError, match="scalar of numpy"):
        loom.from_torch(Scaled(), (x, np.float32(2)))


@pytest.mark.parametrize("key", ["input", "output", "fixed", 1])
def test_dicts_have_any_keys(key, tmp_path):
    class Keyed(torch.nn.Module):
        def forward(self, batch):
            return {key: batch[key] * 2}

    x = torch.ones(4, 3)
    model = loom.from_torch(Keyed(), ({key: x},), training=False)
    model.save(tmp_path / "m.safetensors")
    for each in (model, loom.pytorch.load(tmp_path / "m.safetensors")):
        made = each({key: x})
        assert list(made) == [key]
        assert np.array_equal(made[key], _numbers(x * 2))


_COMPLEX = {
    "scaled": lambda x: x * 0.5, "less": lambda x: 0.5 - x, "a root": lambda x: x**0.5,
    "filled": lambda x: x.masked_fill(x.real > 0, 0.5), "chosen": lambda x: torch.where(x.real > 0, x, 0.5),
    "alpha": lambda x: torch.add(x, x, alpha=0.5), "turned": lambda x: x @ x.mH,
    "product": lambda x: torch.addmm(x, x, x, beta=0.5, alpha=0.25), "dot": lambda x: torch.vdot(x[0], x[1]),
}  # fmt: skip


@pytest.mark.parametrize("name", _COMPLEX)
def test_complex_numbers_meet_real_ones(name):
    torch.manual_seed(0)
    x = torch.randn(3, 3, 2)
    module = odd_modules.Call(lambda x: torch.view_as_real(_COMPLEX[name](torch.view_as_complex(x))))
    model = loom.from_torch(module, x, dynamic=False, training=False)
    assert np.allclose(model(x), _numbers(module(x)), atol=1e-5)


@pytest.mark.parametrize("order", [1, -1, 2, -2, float("inf"), None])
def test_norms_of_matrices_are_not_those_of_their_elements(order):
    torch.manual_seed(0)
    x = torch.randn(3, 4)
    module = odd_modules.Call(lambda x: torch.linalg.norm(x, order, keepdim=True))
    found = loom.from_torch(module, x, dynamic=False, training=False)(x)
    assert found.shape == (1, 1)
    assert np.allclose(found, _numbers(module(x)), atol=1e-5)


def test_nan_stays_in_medians_and_thresholds():
    nan = float("nan")
    x = torch.tensor([[1.0, nan, 3.0], [2.0, 0.0, -1.0]])
    for function in (torch.median, lambda x: x.median(1)[0], lambda x: x.median(1)[1], lambda x: x[1].median(),
                     lambda x: functional.threshold(x, 0.5, 9.0)):  # fmt: skip
        made = loom.from_torch(odd_modules.Call(function), x, dynamic=False, training=False)(x)
        assert np.array_equal(made, _numbers(function(x)), equal_nan=True)


def test_cuts_count_from_the_end_and_windows_of_one_are_one():
    def function(x):
        a, b = x.tensor_split([-1], 1)
        c, d = x.tensor_split([9], 1)
        return a.sum(1), b, c, d, x[:, 0] * torch.hann_window(1), x[:, 0] * torch.blackman_window(1)

    x = torch.randn(3, 4)
    made = loom.from_torch(odd_modules.Call(function), x, dynamic=False, training=False)(x)
    for one, other in zip(made, function(x), strict=True):
        assert np.allclose(one, _numbers(other), atol=1e-6)


def test_sections_that_are_not_alike_are_longer_first():
    x = torch.randn(3, 8)
    made = loom.from_torch(odd_modules.Call(lambda x: x.tensor_split(3, 1)), x, dynamic=False, training=False)(x)
    for one, other in zip(made, x.tensor_split(3, 1), strict=True):
        assert np.array_equal(one, _numbers(other))


@pytest.mark.parametrize("how", ["none", "mean", "sum"])
def test_margins_of_several_labels_end_at_minus_one(how):
    """PyTorch's own decomposition is another number than its loss."""
    torch.manual_seed(0)
    x, target = torch.randn(3, 4, requires_grad=True), torch.tensor([[0, 1, -1, 0], [3, -1, 0, 0], [1, 2, 3, 0]])
    module = odd_modules.Call(lambda x: functional.multilabel_margin_loss(x, target, reduction=how))
    module(x).sum().backward()
    model = loom.from_torch(module, x.detach(), dynamic=False)
    assert np.allclose(model(x.detach()), _numbers(module(x)), atol=1e-6)
    held = loom.tensor.parameter(_numbers(x))
    found = loom.tensor.grad(loom.tensor.sum(model.apply(held, training=True)), [held])[0]
    assert np.allclose(found.numpy(), x.grad.numpy(), atol=1e-6)


@pytest.mark.parametrize("name", ["relu6", "hardtanh"])
def test_ends_of_what_is_cut_have_no_slope(name):
    function = getattr(functional, name)
    x = torch.tensor([[-1.0, 0.0, 1.0, 6.0, 0.5]], requires_grad=True)
    function(x).sum().backward()
    model = loom.from_torch(odd_modules.Call(function), x.detach(), dynamic=False)
    held = loom.tensor.parameter(_numbers(x))
    found = loom.tensor.grad(loom.tensor.sum(model.apply(held, training=True)), [held])[0]
    assert np.array_equal(found.numpy(), x.grad.numpy())


def test_what_forward_writes_in_eval_mode_is_told():
    def function(m, x):
        m.steps.add_(1.0)
        return x + m.steps

    assert "'steps'" in loom.from_torch(odd_modules.Of(function), torch.ones(2, 3), training=False).notes[-1]


def test_modules_whose_modes_or_calls_write_weights_are_refused_and_left_as_they_were():
    class Merging(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w, self.more, self.merged = torch.nn.Parameter(torch.ones(3)), torch.ones(3), False

        def train(self, mode=True):
            super().train(mode)
            if mode == self.merged:
                self.w.data += -self.more if mode else self.more
                self.merged = not mode
            return self

        def forward(self, x):
            return x * (self.w if self.merged else self.w + self.more)

    module = Merging()
    with pytest.raises(ArgumentError, match="writes its weights"):
        loom.from_torch(module, torch.ones(2, 3))
    assert (module.training, module.merged, module.w.tolist()) == (True, False, [1.0] * 3)
    table = torch.nn.Embedding(5, 3, max_norm=0.5)
    before = table.weight.detach().clone()
    with pytest.raises(ArgumentError, match="max_norm"):
        loom.from_torch(table, torch.tensor([[0, 1]]))
    assert torch.equal(before, table.weight)


def test_modules_are_imported_by_several_threads():
    """Two traces at once spoilt what PyTorch keeps for the process: every later import crashed."""
    module = odd_modules.With(lambda m, x: m.lin(x) * (2 if m.training else 5))
    x, found = torch.randn(4, 3), []
    wanted, given = _linear_numbers(module, x), loom.tensor.array(x.numpy())

    def work():
        found.append(loom.from_torch(module, x))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    for model in found:
        assert np.allclose(model(x), wanted * 5, atol=1e-5)
        assert np.allclose(model.apply(given, training=True).numpy(), wanted * 2, atol=1e-5)


def test_complex_weights_are_saved_and_tied_ones_may_be_nan(tmp_path):
    class Turning(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.randn(3, dtype=torch.complex64))
            self.register_buffer("k", torch.randn(3, dtype=torch.complex128))
            self.c = torch.randn(3, dtype=torch.complex64)

        def forward(self, x):
            return (x * self.w * self.k * self.c).abs()

    x = torch.ones(2, 3)
    model = loom.from_torch(Turning(), x, training=False)
    model.save(tmp_path / "m.safetensors")
    again = loom.pytorch.load(tmp_path / "m.safetensors")
    assert np.array_equal(model(x), again(x))
    assert model.digest() == again.digest()
    tied = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    model = loom.from_torch(tied, x, training=False)
    with torch.no_grad():
        tied[0].weight[0, 0] = float("nan")
    model.load_state_dict(tied.state_dict())
    assert np.isnan(model.state_dict()["1.weight"][0, 0])
    for wrong in (x.to_sparse(), x.to("meta")):
        with pytest.raises(DTypeError, match="dense"):
            model(wrong)


def test_dropout_of_attention_leaves_what_is_seen():
    """Scores below any mask: hidden keys must not take the chances of those that are seen."""

    class Attending(torch.nn.Module):
        def forward(self, q, k, v):
            return functional.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=0.25 * self.training)

    q, k, v = torch.full((1, 8, 1), 1e18), torch.full((1, 8, 1), -1e17), torch.full((1, 8, 1), 3.0)
    model = loom.from_torch(Attending(), (q, k, v))
    given = {name: loom.array(x.numpy()) for name, x in zip("qkv", (q, k, v), strict=True)}
    steps = [loom.tensor.array([n], "i32") for n in range(8)]
    first = [model.apply(given, training=True, step=step).numpy()[0, 0, 0] for step in steps]
    assert set(first) == {0, 4}
