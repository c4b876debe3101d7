"""The unit in place of the MLP: norm, mixture of experts (arXiv:1701.06538), residual.

Letters: T tokens, R rows (one for each of a token's experts), D hidden_size, E experts, F width
inside an expert.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from jllm.models.config.decoder_config import DecoderConfig, ExpertsConfig
from jllm.models.experts.balance import BalanceTerms, Tally, balanced
from jllm.models.experts.combination import combine
from jllm.models.experts.computation import compute_experts
from jllm.models.experts.permutation import permutation, permute
from jllm.models.experts.routing import Routing, route
from jllm.models.layers.activation import sigmoid, swiglu
from jllm.models.layers.linear import Linear
from jllm.models.layers.norm import RMSNorm


class Experts(nn.Module):
    """The routed experts; all of them are rows of the same two parameters."""

    def __init__(
        self,
        config: DecoderConfig,
        experts: ExpertsConfig,
        *,
        dtype: torch.dtype,
        device: torch.device | str,
    ):
        super().__init__()
        hidden, inner = config.hidden_size, experts.intermediate_size
        self.count = experts.num_experts
        place = {"dtype": dtype, "device": device}
        self.gate_up = Linear(hidden, self.count * 2 * inner, **place)
        self.down = Linear(inner, self.count * hidden, **place)

    def forward(self, x_RD: Tensor, counts_E: Tensor) -> Tensor:
        """Transform rows that are sorted by expert; x [R, D] in and out."""
        gate_up_E2FD = self.gate_up.weight.unflatten(0, (self.count, -1))
        down_EDF = self.down.weight.unflatten(0, (self.count, -1))
        return compute_experts(x_RD, gate_up_E2FD, down_EDF, counts_E)


class SharedExpert(nn.Module):
    """The expert of all tokens: down(silu(gate(x)) · up(x)), if gated times sigmoid(share(x))."""

    def __init__(
        self,
        config: DecoderConfig,
        experts: ExpertsConfig,
        *,
        dtype: torch.dtype,
        device: torch.device | str,
    ):
        super().__init__()
        hidden, inner = config.hidden_size, experts.shared_intermediate_size
        place = {"dtype": dtype, "device": device}
        self.gate_up = Linear(hidden, 2 * inner, **place)
        self.down = Linear(inner, hidden, **place)
        self.share = Linear(hidden, 1, **place) if experts.shared_gate else None

    def forward(self, x_TD: Tensor) -> Tensor:
        """Transform each token; x [T, D] in and out."""
        y_TD = self.down(swiglu(self.gate_up(x_TD)))
        return y_TD if self.share is None else sigmoid(self.share(x_TD)) * y_TD


class MoE(nn.Module):
    """x + Σ weight · expert(norm(x)) over each token's experts, and the shared expert's result.

    No token is dropped. The terms that balance the experts come with the micro-batch. `router_bias`
    [E], where the configuration has it, is a float32 buffer: it is saved and loaded with the
    weights, but has no gradient and no optimizer state.
    """

    router_bias: Tensor | None

    def __init__(
        self,
        config: DecoderConfig,
        experts: ExpertsConfig,
        *,
        dtype: torch.dtype,
        device: torch.device | str,
    ):
        super().__init__()
        place = {"dtype": dtype, "device": device}
        self.settings = experts
        self.tally = Tally(experts.num_experts, device)
        self.norm = RMSNorm(config.hidden_size, config.norm_eps, **place)
        self.router = Linear(config.hidden_size, experts.num_experts, **place)
        bias = torch.empty(experts.num_experts, dtype=torch.float32, device=device)
        self.register_buffer("router_bias", bias if experts.router_bias else None)
        self.experts = Experts(config, experts, **place)
        shared = experts.shared_intermediate_size > 0
        self.shared = SharedExpert(config, experts, **place) if shared else None

    def forward(self, x_TD: Tensor, balance: BalanceTerms | None = None) -> Tensor:
        """Transform each token; x [T, D] in and out.

        balance: terms of the router's gradient in the backward pass; None adds and counts nothing.
        """
        normed_TD = self.norm(x_TD)
        logits_TE = self._logits(normed_TD)
        routing = self._route(logits_TE)
        mixed_TD = self._mix(normed_TD, routing)
        if self.shared is not None:
            mixed_TD = mixed_TD + self.shared(normed_TD)
        y_TD = x_TD + mixed_TD
        if balance is None:
            return y_TD
        choices = (routing.experts_TA, self.settings.scoring)
        return balanced(y_TD, logits_TE, *choices, balance, self.tally)

    def _route(self, logits_TE: Tensor) -> Routing:
        """Choose each token's experts."""
        settings = self.settings
        return route(
            logits_TE,
            settings.experts_per_token,
            renormalise=settings.renormalise,
            scoring=settings.scoring,
            bias_E=self.router_bias,
            groups=settings.groups,
            groups_per_token=settings.groups_per_token,
            group_best=settings.group_best,
            scale=settings.scale,
        )

    def _mix(self, x_TD: Tensor, routing: Routing) -> Tensor:
        """Return the weighted sum of each token's experts; [T, D]."""
        sorting = permutation(routing.experts_TA, self.settings.num_experts)
        y_RD = self.experts(permute(x_TD, sorting), sorting.counts_E)
        return combine(y_RD, routing.weights_TA, sorting)

    def _logits(self, x_TD: Tensor) -> Tensor:
        """Return the router's logits, [T, E]."""
        if self.settings.float32_router:
            return functional.linear(x_TD.float(), self.router.matrix().float())
        return self.router(x_TD)
