"""Whether re-implementations of published modules give what the originals gave, and by how much they differ."""
