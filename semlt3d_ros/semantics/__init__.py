"""The language: CLIP, prompts, anchors of class names, embeddings of image regions."""
