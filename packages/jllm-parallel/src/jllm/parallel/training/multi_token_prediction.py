"""Multi-token prediction in a run: whether the model has it, and what its modules' losses were."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from jllm.models.config.decoder_config import DecoderConfig
from jllm.models.decoder.head import Head
from jllm.models.decoder.prediction import Prediction
from jllm.models.decoder.stage import Stage
from jllm.models.families import decoder_config, held_prediction, read_json, with_prediction
from jllm.parallel.config.config import TrainConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionFigures:
    """The losses of a training step."""

    losses: tuple[float, ...]
    """Mean token loss of each module over the tokens that it predicts, in the global batch."""


def with_mtp(config: TrainConfig, model: DecoderConfig, weights_dir: Path | None) -> DecoderConfig:
    """Return the model with the modules of multi-token prediction that the run holds.

    They are those of the weights' files. Without files there are those that config.json names if
    they are to be trained, and none else.

    Raises:
        ValueError: they are to be trained, and there are none.
    """
    weight, path = config.mtp_loss_weight, Path(config.model) / "config.json"
    said = decoder_config(read_json(path), str(path))  # whatever files lie beside it
    if weights_dir is not None:
        depth = held_prediction(said, weights_dir)
    else:
        depth = said.prediction.depth if said.prediction and weight else 0
    if weight and not depth:
        where = f"the files of {weights_dir} hold" if weights_dir else f"{config.model} names"
        raise ValueError(
            f"--mtp_loss_weight {weight:g}: {where} no module of multi-token prediction "
            "(num_nextn_predict_layers in config.json, model.layers.<behind the last>.* in the "
            "files); drop the flag, or take a model that has one"
        )
    return with_prediction(model, depth, weight)


class PredictionLosses:
    """The losses of the modules of the whole model, which lie in its last stage."""

    def __init__(self, model: DecoderConfig, stage: Stage) -> None:
        """Find the modules, of a model that trains some."""
        assert model.prediction is not None
        self._depth, self._modules = model.prediction.depth, _modules(stage)

    def sums(self) -> list[float]:
        """Return the losses and the tokens since the step began, 0 on other stages, and begin
        anew."""
        if self._modules is None:
            return [0.0] * (2 * self._depth)
        values = [*self._modules.losses.tolist(), *map(float, self._modules.counts.tolist())]
        self._modules.begin()
        return values

    def figures(self, sums: Sequence[float]) -> PredictionFigures:
        """Return the means out of the sums over all processes."""
        pairs = zip(sums[: self._depth], sums[self._depth :], strict=True)
        return PredictionFigures(losses=tuple(loss / max(count, 1.0) for loss, count in pairs))


def _modules(stage: Stage) -> Prediction | None:
    heads = [unit for unit in stage.units.values() if isinstance(unit, Head)]
    return heads[0].prediction if heads else None
