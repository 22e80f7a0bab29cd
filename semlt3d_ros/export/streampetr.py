"""StreamPETR in the three parts that Autoware's ``autoware_camera_streampetr`` runs, inputs and outputs named as there.

``extract_img_feat`` is backbone and neck, ``position_embedding`` what the calibration says (once per calibration), and
``pts_head_memory`` the head with the memory going in and out, kept in a fixed frame. Time stays outside: entries come
with their ages. An empty memory is all zeros; that its newest pose is zero tells the head that a stream begins.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semlt3d_ros.student.published.memory import QueryMemory
from semlt3d_ros.student.published.streampetr import StreamPETR, StreamPETRHead

MEMORY = ("embedding", "reference_point", "timestamp", "egopose", "velo")
"""Parts of the memory, in the order of inputs and outputs."""
PARTS = ("extract_img_feat", "position_embedding", "pts_head_memory")
INPUTS = {
    "extract_img_feat": ("img",),
    "position_embedding": ("img_metas_pad", "intrinsics", "img2lidar"),
    "pts_head_memory": (
        "x",
        "pos_embed",
        "cone",
        "data_ego_pose",
        "data_ego_pose_inv",
        *(f"pre_memory_{name}" for name in MEMORY),
    ),
}
OUTPUTS = {
    "extract_img_feat": ("img_feats",),
    "position_embedding": ("pos_embed", "cone"),
    "pts_head_memory": ("all_cls_scores", "all_bbox_preds", *(f"post_memory_{name}" for name in MEMORY)),
}


class ImageFeatures(nn.Module):
    """Backbone and neck."""

    def __init__(self, model: StreamPETR) -> None:
        super().__init__()
        self.model = model

    def forward(self, img: Tensor) -> Tensor:
        """(1, V, C, rows, columns) of normalised RGB images (1, V, 3, H, W)."""
        return self.model.tokens(img.flatten(0, 1)).unflatten(0, img.shape[:2])


class PositionEmbedding(nn.Module):
    """Position embeddings and modulation of tokens, for images of one size."""

    def __init__(self, head: StreamPETRHead, rows: int, columns: int) -> None:
        super().__init__()
        self.head, self.rows, self.columns = head, rows, columns

    def forward(self, img_metas_pad: Tensor, intrinsics: Tensor, img2lidar: Tensor) -> tuple[Tensor, Tensor]:
        """See ``StreamPETRHead.token_positions``.

        Args:
            img_metas_pad: (3,) height, width and 3, which is how the caller's padded images must be; the grid of tokens
                is that of the exported size.
            intrinsics: (1, V, 4, 4).
            img2lidar: (1, V, 4, 4) from (u d, v d, d, 1) to points in the model's frame.
        """
        position, cone = self.head.token_positions(intrinsics, img2lidar, self.rows, self.columns)
        # Without a use the input would not be part of the graph, and those who bind it would fail.
        return position + 0.0 * img_metas_pad[0], cone


class HeadWithMemory(nn.Module):
    """The head, with the memory in a fixed frame."""

    def __init__(self, head: StreamPETRHead) -> None:
        super().__init__()
        self.head = head

    def forward(
        self,
        x: Tensor,
        pos_embed: Tensor,
        cone: Tensor,
        data_ego_pose: Tensor,
        data_ego_pose_inv: Tensor,
        *memory: Tensor,
    ) -> tuple[Tensor, ...]:
        """Detect objects.

        Args:
            x: (1, V, C, rows, columns) features.
            pos_embed, cone: of ``PositionEmbedding``.
            data_ego_pose: (1, 4, 4) the model's frame in the fixed one.
            data_ego_pose_inv: its inverse.
            *memory: N entries each; see ``QueryMemory``, but for the frame.

        Returns:
            ``(1, K, L Q)`` class logits and ``(1, code, L Q)`` boxes of all queries of all layers, then the memory: the
            entries that this frame has added, and the N that came in.
        """
        given = QueryMemory(*memory)
        continues = (given.egopose[:, 0].abs().amax(dim=(1, 2)) > 0).to(x.dtype)
        seen = given.moved(data_ego_pose_inv, torch.zeros_like(continues), continues)
        seen = self.head.begun(seen, continues)
        output = self.head(x, pos_embed, cone, seen, torch.ones_like(continues))
        kept, added = output.memory.tensors(), self.head.remembered
        last = {name: values[:, values.shape[1] - added :] for name, values in seen.tensors().items()}
        after = QueryMemory(**{name: torch.cat([kept[name], last[name]], dim=1) for name in kept})
        after = after.moved(data_ego_pose, torch.zeros_like(continues), torch.ones_like(continues))
        # The originals' layout: layers and queries as one row of proposals, numbers of a proposal as columns.
        logits, boxes = (each.flatten(0, 2)[None].transpose(2, 1) for each in (output.logits, output.boxes))
        return logits, boxes, *(after.tensors()[name] for name in MEMORY)


def parts_of(model: StreamPETR, cameras: int) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
    """Each part and inputs that it takes, of noise."""
    config, head = model.config, model.head
    rows, columns = config.image_height // head.stride, config.image_width // head.stride
    tokens = cameras * rows * columns

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape)

    images = noise(1, cameras, 3, config.image_height, config.image_width)
    intrinsics = torch.eye(4).repeat(1, cameras, 1, 1)
    intrinsics[..., 0, 0], intrinsics[..., 1, 1] = 0.79 * config.image_width, 0.8 * config.image_width
    intrinsics[..., 0, 2], intrinsics[..., 1, 2] = config.image_width / 2, config.image_height / 2
    img2lidar = intrinsics.inverse() + 0.1 * noise(1, cameras, 4, 4)
    pose = torch.eye(4)[None].clone()
    pose[:, :3, 3] = noise(1, 3)
    empty = head.empty_memory().tensors()
    memory = [0.5 * noise(*empty[name].shape) for name in MEMORY]
    features = noise(1, cameras, 256, rows, columns)
    padded = torch.tensor([float(config.image_height), float(config.image_width), 3.0])
    return {
        "extract_img_feat": (ImageFeatures(model), (images,)),
        "position_embedding": (PositionEmbedding(head, rows, columns), (padded, intrinsics, img2lidar)),
        "pts_head_memory": (
            HeadWithMemory(head),
            (features, noise(1, tokens, 256), noise(1, tokens, 8), pose, pose.inverse(), *memory),
        ),
    }
