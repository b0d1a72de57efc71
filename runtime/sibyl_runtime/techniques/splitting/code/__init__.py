"""Program text as the blocks it is written in: definitions within definitions, or statements."""
