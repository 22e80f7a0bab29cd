import multiprocessing
import sqlite3

import numpy as np
import pytest

from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.semantics.regions import RegionEmbedder

CROPS = np.random.default_rng(2).integers(0, 256, (6, 12, 12, 3), np.uint8)


def test_each_content_is_computed_once(counting, tmp_path):
    encoder = counting()
    embedder = RegionEmbedder(encoder, tmp_path / "cache")
    first = embedder.embed(CROPS[:4])
    assert encoder.images == 4
    mixed = embedder.embed(CROPS[[5, 1, 3]])
    assert encoder.images == 5
    np.testing.assert_array_equal(mixed[1:], first[[1, 3]])
    np.testing.assert_array_equal(mixed, counting().encode_images(CROPS[[5, 1, 3]]))


def test_the_cache_outlives_the_program_and_is_each_clips_own(counting, tmp_path):
    RegionEmbedder(counting(), tmp_path).embed(CROPS)
    later, other = counting(), counting("other@1")
    RegionEmbedder(later, tmp_path).embed(CROPS[::-1])
    RegionEmbedder(other, tmp_path).embed(CROPS)
    assert (later.images, other.images) == (0, 6)


def test_crops_of_other_shape_are_other_crops(counting, tmp_path):
    encoder = counting()
    embedder = RegionEmbedder(encoder, tmp_path)
    embedder.embed(np.zeros((1, 4, 4, 3), np.uint8))
    embedder.embed(np.zeros((1, 2, 8, 3), np.uint8))
    assert encoder.images == 2


def test_without_a_cache_everything_is_computed(counting):
    encoder = counting()
    embedder = RegionEmbedder(encoder)
    np.testing.assert_array_equal(embedder.embed(CROPS), embedder.embed(CROPS))
    assert encoder.images == 12


def test_no_crops_are_no_work(counting, tmp_path):
    for embedder in (RegionEmbedder(counting()), RegionEmbedder(counting(), tmp_path)):
        assert embedder.embed(np.zeros((0, 48, 48, 3), np.uint8)).shape == (0, 8)


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((2, 4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((2, 0, 4, 3), np.uint8),
        np.zeros((2, 4, 4, 1), np.uint8),
    ],
)
def test_degenerate_crops_are_refused(counting, crops):
    with pytest.raises(InputRejected, match="are not \\(R, S, S, 3\\) uint8"):
        RegionEmbedder(counting()).embed(crops)


def test_a_damaged_cache_is_begun_anew(counting, tmp_path):
    RegionEmbedder(counting(), tmp_path).embed(CROPS)
    (file,) = tmp_path.iterdir()
    file.write_bytes(b"this is no database at all" * 200)
    encoder = counting()
    RegionEmbedder(encoder, tmp_path).embed(CROPS)
    assert encoder.images == 6
    RegionEmbedder(encoder, tmp_path).embed(CROPS)
    assert encoder.images == 6


def test_an_entry_of_wrong_length_is_computed_again(counting, tmp_path):
    RegionEmbedder(counting(), tmp_path).embed(CROPS)
    (file,) = tmp_path.iterdir()
    with sqlite3.connect(file) as database:
        database.execute("UPDATE regions SET embedding = x'00'")
    encoder = counting()
    np.testing.assert_array_equal(RegionEmbedder(encoder, tmp_path).embed(CROPS), counting().encode_images(CROPS))
    assert encoder.images == 6


def test_a_folder_that_cannot_be_is_refused(counting, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        RegionEmbedder(counting(), tmp_path / "file" / "cache")


def _embed_all(embedder, start):
    for k in range(40):
        crop = np.full((1, 6, 6, 3), (start + k) % 50, np.uint8)
        embedder.embed(crop)


def test_processes_share_a_cache(counting, tmp_path):
    embedder = RegionEmbedder(counting(), tmp_path)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_embed_all, args=(embedder, 13 * k)) for k in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    encoder = counting()
    _embed_all(RegionEmbedder(encoder, tmp_path), 0)
    assert encoder.images == 0
