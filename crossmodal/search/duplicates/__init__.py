"""Find items that are the same: of equal content, of nearly the same look, or of nearly equal embeddings."""

from crossmodal.search.duplicates.finding import Duplicates
from crossmodal.search.duplicates.wanted import Evidence, Found, Group, Linkage, Method, Wanted

__all__ = ["Duplicates", "Evidence", "Found", "Group", "Linkage", "Method", "Wanted"]
