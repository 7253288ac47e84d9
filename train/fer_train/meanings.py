"""What each setting of a recipe means, and a recipe written out with it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fer_edge.artifacts.record import encode
from fer_train.recipe import ARITHMETICS, OPTIMIZERS, SCHEDULES, Recipe

__all__ = ["MEANINGS", "written_out"]

MEANINGS = {
    "model": "the preset; the training and its files are named after it",
    "epochs": "how often every picture is seen",
    "batch_size": "pictures per step, over all processes together",
    "optimizer": f"one of {', '.join(OPTIMIZERS)}",
    "learning_rate": "the highest, after the warm-up",
    "weight_decay": "of weights alone; biases and norms do not decay",
    "schedule": f"{' or '.join(SCHEDULES)}: how the learning rate falls",
    "warmup_epochs": "over these the learning rate rises from 0",
    "plateau_patience": "evaluations without a smaller loss before a plateau lowers the rate",
    "early_stopping": "stop after so many evaluations without a smaller loss; 0 is never",
    "gradient_clip": "the largest norm of a gradient",
    "label_smoothing": "share of the target that is spread over all classes",
    "logit_adjustment": "strength with which rare classes are favoured (Menon et al., 2021)",
    "votes": "share of FER+'s votes in the target, where --votes gives them",
    "distillation": "share of the teachers in the loss, where there are any",
    "distillation_temperature": "softens what teachers and student say (Hinton et al., 2015)",
    "mixup": "share of the batches whose pictures are blended in pairs (Zhang et al., 2018)",
    "mixup_alpha": "of the Beta distribution that the blends are drawn from",
    "dropout": "share of the classifier's inputs that are left out",
    "drop_path": "share of residual branches that are left out, in networks that have them",
    "patch_dropout": "share of a ViT's tokens that are left out, which saves time",
    "ema": "decay per step of the averaged weights, which are the ones that are kept",
    "batch_norm_crops": "training crops on which batch norms are measured before an evaluation",
    "evaluate_every": "epochs between two evaluations on public-test",
    "arithmetic": f"{', '.join(ARITHMETICS)}; auto is bf16 where that is faster",
    "seed": "of everything that is random",
    "network.architecture": "a name of timm, or one of ours",
    "network.stem_stride": "of the first convolution, in place of the architecture's own",
    "network.batch_norm_epsilon": "in place of the architecture's own",
    "network.activation": "in place of the architecture's own: relu, relu6, gelu, silu",
    "network.arguments": "settings of the architecture, such as width or depth",
    "input.height": "of the picture that the network sees",
    "input.width": "likewise",
    "input.color": "gray or rgb",
    "input.mean": "subtracted from pixels between 0 and 1, one per channel",
    "input.std": "what they are then divided by",
    "input.interpolation": "area or linear, for pictures of another size",
    "input.gray_coefficients": "weights of red, green and blue in a gray picture",
    "input.crop_margin": "how far a face's box is enlarged, as a share of its longer side",
    "input.crop_square": "whether a box is made square",
    "augmentation.flip": "share of the pictures that are mirrored",
    "augmentation.rotation": "at most so many degrees either way",
    "augmentation.shift": "at most so large a share of the side",
    "augmentation.scale": "the largest relative change of size",
    "augmentation.brightness": "the largest change, as a share of white",
    "augmentation.contrast": "the largest relative change",
    "augmentation.erasing": "share of the pictures in which a rectangle is covered",
    "augmentation.erasing_area": "the largest share of the picture that it covers",
}


def written_out(recipe: Recipe) -> str:
    """Write every setting of a recipe with its meaning, as a recipe file."""
    return "\n".join(_lines(encode(recipe), "")) + "\n"


def _lines(settings: Mapping[str, Any], table: str) -> Iterator[str]:
    nested = {}
    for name, value in settings.items():
        full = f"{table}.{name}" if table else name
        if isinstance(value, Mapping) and full not in MEANINGS:
            nested[full] = value
        elif value is None:
            yield f"# {name} is not set: {MEANINGS[full]}"
        else:
            yield f"{f'{name} = {_value(value)}':<34} # {MEANINGS[full]}"
    for name, inner in nested.items():
        yield from ("", f"[{name}]", *_lines(inner, name))


def _value(value: Any) -> str:
    """Write a value as TOML has it; numbers and text are as in JSON."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{k} = {_value(v)}' for k, v in value.items())} }}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value)
