"""StreamPETR's head (Wang et al., ICCV 2023), as the released code computes it in evaluation mode.

Every quirk that released weights have learnt with is kept:

* token n is modulated with the focal lengths of camera n modulo the number of cameras, not with those of its own;
* an empty memory is attended to, and at the start of a stream fixed pseudo points from the checkpoint, with an identity
  pose, are its newest entries;
* remembered points are moved by the ego motion alone, remembered embeddings are those after the last norm;
* all layers share their branches and their reference points, and no layer refines what the one before has found.

A decoder output that is not a number stays one, where the released code replaces it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semlt3d_ros.student.published.config import StreamPETRConfig
from semlt3d_ros.student.published.cpfpn import CPFPN
from semlt3d_ros.student.published.memory import QueryMemory
from semlt3d_ros.student.published.model import Motion, PublishedModel, Views
from semlt3d_ros.student.published.parts import (
    Attention,
    FeedForward,
    Gate,
    Modulation,
    inverse_sigmoid,
    two_layers,
)
from semlt3d_ros.student.published.stream_head import WIDTH, HeadOutput, Queries, StreamHead

_CODE = 10


class DecoderLayer(nn.Module):
    """Self-attention to queries and memory, cross-attention to tokens, feed-forward network; a norm after each."""

    def __init__(self, config: StreamPETRConfig) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(Attention(WIDTH, config.heads) for _ in range(2))
        self.ffns = nn.ModuleList([FeedForward(WIDTH, config.feed_forward)])
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(3))

    def forward(
        self, queries: Tensor, position: Tensor, past: Queries, tokens: tuple[Tensor, Tensor], absent: Tensor | None
    ) -> Tensor:
        """Queries (B, Q, C) after looking at themselves, at ``past`` ones and at tokens, content and position."""
        values = torch.cat([queries, past.content], dim=1)
        value_position = torch.cat([position, past.position], dim=1)
        queries = self.norms[0](self.attentions[0](queries, position, values, value_position))
        queries = self.norms[1](self.attentions[1](queries, position, *tokens, absent))
        result: Tensor = self.norms[2](self.ffns[0](queries))
        return result


class Decoder(nn.Module):
    """All layers, and the norm of what each of them gives out; the next one gets it without."""

    def __init__(self, config: StreamPETRConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.post_norm = nn.LayerNorm(WIDTH)

    def forward(self, queries: Queries, past: Queries, tokens: tuple[Tensor, Tensor], absent: Tensor | None) -> Tensor:
        """(L, B, Q, C) what queries have become after each layer; the rest as in a layer."""
        content, outputs = queries.content, []
        for layer in self.layers:
            content = layer(content, queries.position, past, tokens, absent)
            outputs.append(self.post_norm(content))
        return torch.stack(outputs)


class StreamPETRHead(StreamHead):
    """From image tokens and the memory to boxes; parameters have the names of the released checkpoints."""

    position_range: Tensor
    coords_d: Tensor

    def __init__(self, config: StreamPETRConfig) -> None:
        super().__init__(config, _CODE, Modulation(8, WIDTH))
        self.stride = config.stride
        self.register_buffer("position_range", torch.tensor(config.position_range))
        self.register_buffer("coords_d", depths(config))
        self.position_encoder = two_layers(3 * config.depth_points, 4 * WIDTH, WIDTH)
        self.memory_embed = two_layers(WIDTH, WIDTH, WIDTH)
        self.featurized_pe = Gate(WIDTH)
        self.transformer = nn.ModuleDict({"decoder": Decoder(config)})

    def token_positions(
        self, intrinsics: Tensor, T_model_image: Tensor, rows: int, columns: int
    ) -> tuple[Tensor, Tensor]:
        """What the calibration says about every token, in the order camera, row, column.

        Args:
            intrinsics: (B, V, 3, 3) or (B, V, 4, 4) pinhole cameras, in pixels; the centre of the token in column j is
                at 16 j + 8.
            T_model_image: (B, V, 4, 4) from (u d, v d, d, 1) to points in the model's frame: the inverse of intrinsics
                times extrinsics.
            rows, columns: of the tokens of one camera.

        Returns:
            ``(B, V rows columns, 256)`` position embeddings before the gate, and ``(B, V rows columns, 8)`` what the
            tokens are modulated with.
        """
        size, cameras = intrinsics.shape[:2]
        stride, device = self.stride, self.pc_range.device
        across = torch.arange(columns, device=device) * stride + stride // 2
        down = torch.arange(rows, device=device) * stride + stride // 2
        grid = torch.stack([across[None].expand(rows, -1), down[:, None].expand(-1, columns)], dim=-1).to(
            self.coords_d.dtype
        )
        depth = self.coords_d[:, None].expand(rows * columns, -1, -1)
        pixels = grid.reshape(-1, 1, 2)
        points = torch.cat([pixels * depth, depth, torch.ones_like(depth)], dim=-1)
        points = (T_model_image[:, :, None, None] @ points[..., None])[..., :3, 0]
        low, high = self.position_range[:3], self.position_range[3:]
        unit = ((points - low) / (high - low)).reshape(size, cameras * rows * columns, -1)
        focal = torch.stack([intrinsics[..., 0, 0], intrinsics[..., 1, 1]], dim=-1).abs().to(points.dtype) / 1e3
        # Not each camera's own: the released code repeats the list of cameras where it means each entry of it.
        focal = focal.repeat(1, rows * columns, 1)
        cone = torch.cat([focal, unit[..., -3:], unit[..., -90:-87]], dim=-1)
        position: Tensor = self.position_encoder(inverse_sigmoid(unit))
        return position, cone

    def forward(
        self,
        features: Tensor,
        position: Tensor,
        cone: Tensor,
        memory: QueryMemory,
        continues: Tensor,
        absent: Tensor | None = None,
    ) -> HeadOutput:
        """Detect objects.

        Args:
            features: (B, V, C, rows, columns) of the neck's finer level.
            position, cone: of ``token_positions``.
            memory: moved into the present frame.
            continues: (B,) 1 where ``memory`` is of frames before, 0 where the stream begins.
            absent: (B, V) True where there is no image.
        """
        memory = self.begun(memory, continues)
        size, cells = len(features), features.shape[-2] * features.shape[-1]
        tokens = self.memory_embed(features.permute(0, 1, 3, 4, 2).reshape(size, -1, WIDTH))
        tokens = self.spatial_alignment(tokens, cone)
        position = self.featurized_pe(position, tokens)
        if absent is not None:
            absent = absent.repeat_interleave(cells, dim=1)
        references = self.reference_points.weight.expand(size, -1, -1)
        queries = self.present(references, references.new_zeros(*references.shape[:2], WIDTH))
        past = self.past(memory)
        queries = queries.followed_by(past.part(slice(self.propagated)))
        older = past.part(slice(self.propagated, None))
        found = self.transformer["decoder"](queries, older, (tokens, position), absent)
        return self.predicted(found, queries.references, memory)


def depths(config: StreamPETRConfig) -> Tensor:
    """(D,) metres along each token's ray, farther apart with distance."""
    count = config.depth_points
    index = torch.arange(count).float()
    step = (config.position_range[3] - config.depth_start_m) / (count * (1 + count))
    return config.depth_start_m + step * index * (index + 1)


class StreamPETR(PublishedModel):
    """The whole network: images and calibration to boxes."""

    family = "streampetr"

    def __init__(self, config: StreamPETRConfig) -> None:
        super().__init__(config, (config.stride, 2 * config.stride))
        self.neck = CPFPN(self.channels, WIDTH)
        self.head = StreamPETRHead(config)

    def empty_memory(self, size: int = 1) -> QueryMemory:
        """The memory of ``size`` streams before their first frame."""
        return self.head.empty_memory(size)

    def tokens(self, images: Tensor) -> Tensor:
        """(N, C, rows, columns) of normalised images (N, 3, H, W)."""
        levels: list[Tensor] = self.neck(self.maps(images))
        return levels[0]

    def forward(self, views: Views, memory: QueryMemory, motion: Motion) -> HeadOutput:
        """See ``PublishedModel``."""
        with self.half_precision():
            features = self.tokens(self.normalised(views.images)).float().unflatten(0, views.images.shape[:2])
        position, cone = self.head.token_positions(views.intrinsics, views.T_model_image(), *features.shape[-2:])
        moved = memory.moved(motion.T_now_last, motion.elapsed_s, motion.continues)
        absent = None if views.valid.all() else ~views.valid
        result: HeadOutput = self.head(features, position, cone, moved, motion.continues, absent)
        return result
