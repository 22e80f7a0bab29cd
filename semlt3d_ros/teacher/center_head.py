"""Centre heads (CenterPoint, Yin et al., CVPR 2021): heat maps of centres, and the box at each cell."""

from __future__ import annotations

from torch import Tensor, nn

from semlt3d_ros.teacher.config import TeacherConfig

PRIOR_LOGIT = -4.0
"""Start of the heat maps: nearly every cell is background."""

REGRESSIONS = {"offset": 2, "height": 1, "size": 3, "heading": 2, "velocity": 2}
"""Maps besides ``heat``, with their channels."""


class CenterHead(nn.Module):
    """A shared convolution, and for each task and each of its maps two more."""

    def __init__(self, config: TeacherConfig) -> None:
        super().__init__()
        self.shared = _normed(sum(config.up_widths), config.shared_width, config)
        regressions = {name: width for name, width in REGRESSIONS.items() if config.velocity or name != "velocity"}
        self.tasks = nn.ModuleList(
            nn.ModuleDict(
                {
                    name: nn.Sequential(
                        _normed(config.shared_width, config.head_width, config),
                        nn.Conv2d(config.head_width, width, 3, padding=1),
                    )
                    for name, width in {**regressions, "heat": len(task)}.items()
                }
            )
            for task in config.tasks
        )
        for task in self.tasks:
            nn.init.constant_(task["heat"][1].bias, PRIOR_LOGIT)  # type: ignore[index]

    def forward(self, features: Tensor) -> list[dict[str, Tensor]]:
        """Maps (B, ., rows, columns) of features (B, C, rows, columns), by task: ``heat`` logits of its classes,
        ``offset`` of the centre in its cell from the corner in cells, ``height`` of the centre in metres, ``size`` as
        logarithms, ``heading`` as sine and cosine, ``velocity`` in m/s; orders as the config says."""
        shared = self.shared(features)
        return [{name: head(shared) for name, head in task.items()} for task in self.tasks]  # type: ignore[operator, union-attr]


def _normed(inputs: int, width: int, config: TeacherConfig) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1, bias=config.head_bias),
        nn.BatchNorm2d(width, eps=config.head_epsilon),
        nn.ReLU(inplace=True),
    )
