"""Cuts texts into chunks that the embedding model can read whole. Pure: text and a tokenizer in, chunks out."""
