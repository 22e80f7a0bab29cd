"""The objects of a labelled recording as its cameras see them, and what a CLIP says of each; and names into labels."""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.adaptation.naming import Sighting, sighted
from semlt3d_ros.adaptation.settings import NamingSettings
from semlt3d_ros.bags.message import decoded
from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.classes import ABSENT, ClassList
from semlt3d_ros.core.crops import crop_region, with_full_contrast
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import Frame, Labels
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.label_map import columns_for
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.core.regions import best_regions
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode_detections import decode_labels
from semlt3d_ros.messages.encode_detections import encode_labels
from semlt3d_ros.semantics.anchors import make_anchors
from semlt3d_ros.semantics.clip import ClipEncoder
from semlt3d_ros.semantics.prompts import DEFAULT_TEMPLATES
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.rig import Rig, rig_from_topics

_LEAST_CUT_PX = 8.0


@dataclass
class Namer:
    """A CLIP, and what it is asked.

    Attributes:
        encoder: the CLIP.
        anchors: of the classes to tell apart, those to learn among them.
        settings: what is cut out of images.
    """

    encoder: ClipEncoder
    anchors: LanguageAnchors
    settings: NamingSettings

    @classmethod
    def load(cls, settings: NamingSettings, classes: ClassList, device: str) -> Namer:
        """The CLIP of the settings, asked for classes.

        Raises:
            ConfigurationError: the CLIP, or its weights, cannot be used.
        """
        encoder = ClipEncoder.load(settings.model, settings.pretrained, device)
        words = {**classes.words(), **{name: text for name, text in settings.words.items() if text}}
        anchors = make_anchors(encoder, classes.names, settings.templates or DEFAULT_TEMPLATES, words=words)
        return cls(encoder, anchors, settings)

    def look(
        self, bag: Path, classes: ClassList, rig: Rig | None, tracks: Collection[str] | None = None
    ) -> list[Sighting]:
        """What the CLIP says of the objects in the labels of a recording; of those of ``tracks`` where they are given.

        Raises:
            ConfigurationError: the bag cannot be read, or has no cameras.
        """
        views: dict[str, list[tuple[float, int, NDArray[np.uint8]]]] = defaultdict(list)
        votes: dict[str, str] = {}
        order = itertools.count()
        for frame in _frames(bag, self.settings, rig):
            if frame.labels is None:
                continue
            labels = in_classes(frame.labels, classes)
            regions = best_regions(
                labels.boxes, [(view.camera, view.T_ego_camera) for view in frame.views], min_pixels=_LEAST_CUT_PX
            )
            for track, name, region in zip(labels.track_ids, labels.names, regions, strict=True):
                votes[track] = name or votes.get(track, "")
                if region is None or (tracks is not None and track not in tracks):
                    continue
                kept = views[track]
                size = region.side * region.shown
                if len(kept) < self.settings.views or size > kept[0][0]:
                    crop = crop_region(frame.views[region.view].image, region.window, self.settings.crop)
                    crop = with_full_contrast(crop)
                    heapq.heappush(kept, (size, next(order), crop))
                    if len(kept) > self.settings.views:
                        heapq.heappop(kept)
        return [
            sighted(
                track,
                votes[track],
                self.encoder.encode_images([crop for _, _, crop in kept]),
                self.anchors,
                self.encoder.logit_scale,
            )
            for track, kept in views.items()
        ]


def in_classes(labels: Labels, classes: ClassList) -> Labels:
    """A teacher's labels in the classes of the student that is to learn them."""
    return labels.as_classes(columns_for(labels.class_names, classes), classes.names)


def write_named(
    bag: Path, out: Path, names: Mapping[str, str], classes: ClassList, agreed: Collection[str] | None = None
) -> None:
    """A labelled recording with its labels in other classes, and some objects under other names.

    Args:
        bag: the recording.
        out: the bag to write; one that is there is replaced.
        names: of tracks.
        classes: of which they are; the teacher's classes lead to these.
        agreed: tracks whose class stays where they are not in ``names``, others are in doubt; None for all.
    """
    faults = FaultLog()
    with BagSource(bag) as source, BagSink(out, overwrite=True) as sink:
        others = sorted(source.topics.keys() - {topics.TEACHER_LABELS})
        for entry in source.messages(topics=others):
            sink.write(entry.topic, entry.type_name, entry.data, entry.stamp)
        for entry, message in decoded(source.messages(topics=[topics.TEACHER_LABELS]), faults):
            found, stamp = decode_labels(message, faults, topics.TEACHER_LABELS)
            labels = in_classes(found, classes)
            ids = [
                classes.index[names[track]] if track in names else kind if agreed is None or track in agreed else ABSENT
                for track, kind in zip(labels.track_ids, labels.class_ids, strict=True)
            ]
            labels = replace(labels, class_ids=np.array(ids, np.int64))
            data = encode_labels(labels, stamp, message.header.frame_id)
            sink.write(entry.topic, entry.type_name, data, entry.stamp)


def _frames(bag: Path, settings: NamingSettings, rig: Rig | None) -> Iterator[Frame]:
    """The frames of a labelled recording in images that are worth cutting crops from."""
    with BagSource(bag) as source:
        found = replace(rig or rig_from_topics(source.topics), labels_topic=topics.TEACHER_LABELS)
        spec = ImageSpec(settings.image_width, settings.image_height, 0.0)
        builder = FrameBuilder(found, spec, with_labels=True)
        for entry, message in decoded(source.messages(topics=list(builder.topics)), FaultLog()):
            yield from builder.add(entry.topic, entry.type_name, message)
        yield from builder.flush()
