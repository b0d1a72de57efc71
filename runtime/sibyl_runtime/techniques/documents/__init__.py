"""From files to documents: what is found under a path, how it is decoded, and the formats that are understood."""
