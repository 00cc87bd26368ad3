"""What a network takes for alike: queries and their nearest neighbours side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..evaluation.neighbours import nearest_labels
from ..visualization.keyframes import Image, bordered, contact_sheet

__all__ = ["draw_neighbours"]


def draw_neighbours(
    gallery: NDArray[np.floating],
    queries: NDArray[np.floating],
    gallery_picture: Callable[[int], Image],
    query_picture: Callable[[int], Image],
    gallery_labels: Sequence[str] | None = None,
    query_labels: Sequence[str] | None = None,
    count: int = 5,
    cell_width: int = 160,
) -> Image:
    """A picture with a row for each query: itself, then its nearest gallery items by cosine similarity.

    With labels, a neighbour of the query's label has a green border, any other a red one.

    Args:
        gallery: features (N, D); queries: features (M, D), of any length.
        gallery_picture, query_picture: uint8 RGB (H, W, 3) of an item; called for those that are shown.
        gallery_labels, query_labels: N and M names; both or neither.
        count: neighbours of each query, at most N.

    Returns:
        uint8 (H', W', 3), RGB.
    """
    if (gallery_labels is None) != (query_labels is None):
        raise ValueError("give the labels of both the gallery and the queries, or of neither")
    count = min(count, len(gallery))
    indices, similarities = nearest_labels(gallery, np.arange(len(gallery)), queries, count)
    images, titles = [], []
    for query in range(len(queries)):
        images.append(query_picture(query))
        titles.append("query" if query_labels is None else query_labels[query])
        for item, similarity in zip(indices[query].tolist(), similarities[query].tolist(), strict=True):
            image, title = gallery_picture(item), f"{similarity:.3f}"
            if gallery_labels is not None and query_labels is not None:
                title += f"  {gallery_labels[item]}"
                image = bordered(image, gallery_labels[item] == query_labels[query], cell_width)
            images.append(image)
            titles.append(title)
    return contact_sheet(images, titles, columns=1 + count, cell_width=cell_width)
