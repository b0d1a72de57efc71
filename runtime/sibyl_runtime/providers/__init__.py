"""The models behind the techniques: embedders and language models, each behind a Protocol."""
