"""Text out of formats that anybody may have made, read in a process of its own with bounded memory and time.

A PDF or a page of HTML can be small and cost hours, or all memory there is. The parsers run where that ends one
process of no importance, and the file is left out by name.
"""

from sibyl_runtime.extraction.part import Kind, Part, Refused
from sibyl_runtime.extraction.process import Extractor

__all__ = ["Extractor", "Kind", "Part", "Refused"]
