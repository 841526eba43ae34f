"""The bundled example: a small classifier learns handwritten digits from labels of which some are wrong."""
