"""Optimal transport against exact solutions (POT) and a plain reading of IPOT."""

from __future__ import annotations

import re

import numpy as np
import ot
import pytest
import torch
from torch import Tensor

from vlp.metrics.transport import cosine_cost, optimal_transport_distance, transport_plan

# Axes: B samples, N and M tokens, D width.


def real(*shape: int) -> Tensor:
    return torch.ones(*shape, dtype=torch.bool)


def plain_ipot(cost: np.ndarray, beta: float, iterations: int) -> float:
    """Return IPOT's cost for one pair of sets without padding, after Xie et al. 2018, algorithm 1."""
    n, m = cost.shape
    kernel, plan, sigma = np.exp(-cost / beta), np.ones((n, m)), np.full(n, 1 / n)
    for _ in range(iterations):
        q = kernel * plan
        delta = 1 / (m * (q.T @ sigma))
        sigma = 1 / (n * (q @ delta))
        plan = sigma[:, None] * q * delta[None]
    return float((plan * cost).sum())


def test_fifty_iterations_give_what_the_algorithm_gives():
    x, y = torch.randn(20, 7, 5), torch.randn(20, 11, 5)
    costs = cosine_cost(x.double(), y.double()).numpy()
    ours = optimal_transport_distance(x, y, real(20, 7), real(20, 11))
    np.testing.assert_allclose(ours, [plain_ipot(cost, 0.5, 50) for cost in costs], rtol=1e-5)


@pytest.mark.parametrize(("num_x", "num_y"), [(5, 5), (6, 9)])
def test_many_iterations_reach_the_exact_optimum(num_x: int, num_y: int):
    x, y = torch.randn(8, num_x, 4).double(), torch.randn(8, num_y, 4).double()
    exact = [ot.emd2(ot.unif(num_x), ot.unif(num_y), cost) for cost in cosine_cost(x, y).numpy()]
    few = optimal_transport_distance(x, y, real(8, num_x), real(8, num_y)).numpy()
    many = optimal_transport_distance(x, y, real(8, num_x), real(8, num_y), iterations=3000).numpy()
    np.testing.assert_allclose(many, exact, atol=2e-3)
    assert np.abs(many - exact).mean() < np.abs(few - exact).mean() < 0.02


@pytest.mark.parametrize("width", [8, 128])
def test_fifty_iterations_are_within_a_percent_of_the_optimum_of_padded_sets(width: int):
    x, y = torch.randn(20, 12, width), torch.randn(20, 36, width)
    num_x, num_y = torch.randint(3, 13, (20,)), torch.randint(5, 37, (20,))
    x_mask, y_mask = torch.arange(12) < num_x[:, None], torch.arange(36) < num_y[:, None]
    costs = zip(cosine_cost(x.double(), y.double()).numpy(), num_x.tolist(), num_y.tolist(), strict=True)
    exact = [ot.emd2(ot.unif(n), ot.unif(m), np.ascontiguousarray(cost[:n, :m])) for cost, n, m in costs]
    np.testing.assert_allclose(optimal_transport_distance(x, y, x_mask, y_mask), exact, rtol=0.01)


def test_fifty_iterations_are_within_some_percent_where_vectors_lie_together():
    shared = 2 * torch.randn(20, 1, 16)
    x, y = shared + torch.randn(20, 12, 16), shared + torch.randn(20, 36, 16)
    exact = [ot.emd2(ot.unif(12), ot.unif(36), cost) for cost in cosine_cost(x.double(), y.double()).numpy()]
    above = optimal_transport_distance(x, y, real(20, 12), real(20, 36)).numpy() / exact - 1
    assert 0.01 < np.median(above) < 0.05
    assert (np.abs(above) < 0.1).all()


def test_a_permuted_set_costs_nothing():
    x = torch.linalg.qr(torch.randn(3, 8, 8))[0]
    assert (optimal_transport_distance(x, x[:, torch.randperm(8)], real(3, 8), real(3, 8)).abs() < 1e-5).all()


def test_equal_vectors_cost_the_mean_whatever_the_plan():
    x, y = torch.randn(3, 6, 4), torch.randn(3, 1, 4).expand(-1, 5, -1)
    ours = optimal_transport_distance(x, y, real(3, 6), real(3, 5))
    torch.testing.assert_close(ours, cosine_cost(x, y).mean((1, 2)))


def test_opposite_vectors_cost_two():
    x = torch.randn(2, 1, 4).expand(-1, 3, -1)
    torch.testing.assert_close(optimal_transport_distance(x, -x, real(2, 3), real(2, 3)), torch.full((2,), 2.0))


def test_the_side_updated_last_has_exact_marginals():
    cost = cosine_cost(torch.randn(4, 6, 5), torch.randn(4, 9, 5))
    plan = transport_plan(cost, real(4, 6), real(4, 9), beta=0.5, iterations=50)
    torch.testing.assert_close(plan.sum(2), torch.full((4, 6), 1 / 6), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(plan.sum(1), torch.full((4, 9), 1 / 9), rtol=0, atol=2e-3)


def test_padding_changes_nothing_whatever_stands_there():
    x, y = torch.randn(4, 6, 5), torch.randn(4, 9, 5)
    wide_x = torch.cat([x, torch.full((4, 2, 5), 1e4)], 1)
    wide_y = torch.cat([y, torch.full((4, 3, 5), -1e4)], 1)
    x_mask, y_mask = torch.arange(8).expand(4, -1) < 6, torch.arange(12).expand(4, -1) < 9
    padded = optimal_transport_distance(wide_x, wide_y, x_mask, y_mask)
    torch.testing.assert_close(padded, optimal_transport_distance(x, y, real(4, 6), real(4, 9)), rtol=1e-6, atol=0)


def test_gradient_flows_through_the_cost_alone():
    x, y = torch.randn(2, 4, 5, requires_grad=True), torch.randn(2, 6, 5)
    optimal_transport_distance(x, y, real(2, 4), real(2, 6)).sum().backward()
    ours = x.grad
    x.grad = None
    cost = cosine_cost(x, y)
    (cost * transport_plan(cost.detach(), real(2, 4), real(2, 6), 0.5, 50)).sum().backward()
    torch.testing.assert_close(ours, x.grad)
    assert ours.abs().sum() > 0


def test_half_precision_is_computed_in_full():
    x, y = torch.randn(2, 4, 5).bfloat16(), torch.randn(2, 6, 5).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        half = optimal_transport_distance(x, y, real(2, 4), real(2, 6))
    assert torch.equal(half, optimal_transport_distance(x.float(), y.float(), real(2, 4), real(2, 6)))


def test_an_empty_side_has_no_distance_and_no_gradient():
    x, y = torch.randn(2, 4, 5, requires_grad=True), torch.randn(2, 6, 5)
    x_mask = real(2, 4)
    x_mask[0] = False
    distance = optimal_transport_distance(x, y, x_mask, real(2, 6))
    assert distance.isnan().tolist() == [True, False]
    distance.nansum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": torch.ones(2, 3, 9)}, "x and y must be (B, N, D) and (B, M, D), got (2, 4, 5) and (2, 3, 9)"),
        ({"x_mask": torch.ones(2, 4)}, "x_mask must be bool of shape (2, 4), got torch.float32 of shape (2, 4)"),
        ({"beta": 0.0}, "beta=0.0, iterations=50: expected both to be positive"),
        ({"iterations": 0}, "beta=0.5, iterations=0: expected both to be positive"),
    ],
)
def test_bad_input_is_named(change: dict[str, object], message: str):
    arguments = {"x": torch.ones(2, 4, 5), "y": torch.ones(2, 3, 5), "x_mask": real(2, 4), "y_mask": real(2, 3)}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        optimal_transport_distance(**(arguments | change))
