"""The attention of a trained network: the paper's two views of it, as means over rows."""

from typing import Any

import torch
from torch import Tensor, nn

from ...batches.batch import Batch
from ...storage.opening import TableSource
from ...storage.table import require_drawn
from .model_file import TrainedModel, batches_that_fit
from .network.interaction import AutoInt
from .network.pooling import WeightedSumPooling

# Validation rows are shuffled, so that its first rows are a fair sample.
ROWS = 20_000


@torch.inference_mode()
def attention(model: TrainedModel, rows: TableSource) -> dict[str, Any]:
    """Mean attention of a trained network over the first of the rows, as plain values.

    `rows`; `fields`: names of the F fields at a position; `field_attention` [F, F]: how much a
    field (row) looks at each (column) in the last autoint layer, over all positions, or None;
    `positions`: for each position, 0 the target and 1 the newest event, the mean `weight` of the
    pooling attention over the `rows` that have it, or None without weighted_sum.
    """
    feature_map, machine, source = model.about.feature_map, model.machine, model.source(rows)
    require_drawn(source.table)
    network, most = model.network.to(machine.device).eval(), min(ROWS, source.rows)
    fields = [field.column or "target" for field in feature_map.for_networks().sequences]
    fields += [field.column for field in feature_map.profile]
    layers = network.interaction.layers
    layer = layers[-1] if len(layers) and isinstance(layers[-1], AutoInt) else None
    pooling = network.pooling if isinstance(network.pooling, WeightedSumPooling) else None
    field_sum = torch.zeros(len(fields), len(fields), dtype=torch.float64)
    weight_sum, weight_rows = torch.zeros(2, source.max_len + 1, dtype=torch.float64)

    # The inputs of each module's last call.
    seen: dict[nn.Module, Any] = {}
    modules = [module for module in (layer, pooling) if module is not None]
    handles = [
        module.register_forward_pre_hook(lambda module, inputs: seen.update({module: inputs}))
        for module in modules
    ]

    def weights(batch: Batch) -> dict[nn.Module, Tensor]:
        with machine.autocast():
            network(batch)
        return {module: module.attention(*seen[module]).double().cpu() for module in modules}

    for batch in source.in_order(0, most) if modules else ():
        for fitting, weight in batches_that_fit(weights, batch, machine):
            place_N, age_N = fitting.layout.place_N, fitting.layout.age_N
            if layer is not None:
                # Each distinct position counts as often as it occurs.
                count_U = torch.bincount(place_N, minlength=len(weight[layer])).double()
                field_sum += torch.einsum("u,uij->ij", count_U, weight[layer])
            if pooling is not None:
                weight_sum.index_add_(0, age_N, weight[pooling])
                weight_rows += torch.bincount(age_N, minlength=len(weight_rows))
    for handle in handles:
        handle.remove()
    positions = [
        {"position": position, "weight": float(weight_sum[position] / count), "rows": int(count)}
        for position, count in enumerate(weight_rows.tolist())
        if count
    ]
    return {
        "rows": most,
        "fields": fields,
        # A field's attention adds up to 1 at each position.
        "field_attention": (field_sum / field_sum.sum(1, keepdim=True)).tolist() if layer else None,
        "positions": positions if pooling else None,
    }
